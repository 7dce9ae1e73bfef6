"""What conversations hold and a chat template does not write: found by leaving it out."""

from collections import Counter

from distillkit.chat.conversation import ASSISTANT, LEARNT, BadConversation, Conversation, Message
from distillkit.chat.templates import ChatTemplate
from distillkit.console.progress import say

TRIED = 3  # conversations that have a field; one may hold what changes nothing
_PLAIN = ("role", "content", *LEARNT)


class UnusedFields:
    """Counts what is there, and tries on a few conversations whether the text changes without."""

    def __init__(self, template: ChatTemplate) -> None:
        self.template = template
        self.count: Counter[str] = Counter()
        self.trials: Counter[str] = Counter()
        self.used: set[str] = set()

    def look(self, conversation: Conversation) -> None:
        """Take note of what one conversation holds."""
        for name in _names(conversation):
            self.count[name] += 1
            if name not in self.used and self.trials[name] < TRIED:
                self.trials[name] += 1
                if self._changes(conversation, name):
                    self.used.add(name)

    def tell(self, label: str) -> None:
        """Say what is of no use to the template."""
        unused = [name for name in self.count if name not in self.used]
        if unused:
            listed = ", ".join(f"{name} (in {self.count[name]:,})" for name in sorted(unused))
            say(f"data: the chat template writes nothing of these in {label}: {listed}")

    def _changes(self, conversation: Conversation, name: str) -> bool:
        tools = None if name == "tools" else conversation.tools
        conversation_without = Conversation(
            [_without(m, name) for m in conversation.messages], tools
        )
        try:
            with self.template.guard():
                return self._texts(conversation) != self._texts(conversation_without)
        except BadConversation:
            return True  # it is missed

    def _texts(self, talk: Conversation) -> list[str]:
        """All that is written of a conversation: as one, and each turn as it is learnt."""
        whole = self.template.render(talk.messages, talk.tools, prompt=False)
        turns = [self.template.turn(talk.messages, talk.tools, place) for place in talk.turns]
        return [whole, *(text for turn in turns for text in (turn.prompt, turn.response))]


def _names(conversation: Conversation) -> list[str]:
    fields = {
        f"{name} of messages" for m in conversation.messages for name in m if name not in _PLAIN
    }
    roles = {f"role {m['role']}" for m in conversation.messages if m["role"] != ASSISTANT}
    return [*sorted(fields), *sorted(roles), *(["tools"] if conversation.tools else [])]


def _without(message: Message, name: str) -> Message:
    """The message without a field, or, of a role, with another content."""
    if name == f"role {message['role']}":
        return message | {"content": "zqx"}
    field = name.removesuffix(" of messages")
    if field == name:
        return message
    return {k: v for k, v in message.items() if k != field}
