"""`distillkit publish PATH owner/name`: a student's folder on the Hugging Face hub."""

import argparse

from distillkit.artifacts.homes import expanded
from distillkit.cli.arguments import Arguments
from distillkit.console.progress import heartbeat, stdout, working
from distillkit.console.quiet import quiet_others
from distillkit.console.wording import size

EXAMPLES = """\
PATH is a student's folder, that of a report (outputs/…/student) or of a format beside it. All goes
in one commit; what is in folders below it, or begins with a dot, stays. The token is that of
`hf auth login`, or HF_TOKEN; HF_ENDPOINT names another hub.

examples
  # what would go, and what is worth a look before; nothing is sent
  distillkit publish outputs/bert-tiny/20260101-120000/student owner/name --dry-run
  # a private repository
  distillkit publish ./student owner/name --private
"""


def main(words: list[str]) -> None:
    """Show what of a folder goes to the hub, and send it."""
    parser = Arguments(
        prog="distillkit publish",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("path", metavar="PATH", help="the student's folder")
    parser.add_argument("repository", metavar="owner/name", help="the repository on the hub")
    parser.add_argument("--dry-run", action="store_true", help="show what would go, send nothing")
    parser.add_argument("--private", action="store_true", help="make a new repository private")
    parser.add_argument("--message", default="Add a distilled student", help="of the commit")
    chosen = parser.parse_args(words)
    quiet_others()

    from distillkit.prediction.purpose import newest, student_folder
    from distillkit.reporting import publication

    folder = expanded(student_folder(newest(str(expanded(chosen.path)))))
    planned = publication.publication(folder, chosen.repository)
    count = f"{len(planned.files)} files, {size(planned.bytes)}"
    verb = "would go" if chosen.dry_run else "go"
    stdout().print(f"{folder}: {count}, {verb} to {chosen.repository}", soft_wrap=True)
    for line in planned.lines():
        stdout().print(line, soft_wrap=True)
    if chosen.dry_run:
        return
    with heartbeat(), working(f"publish: sending {count}"):
        address = publication.publish(planned, private=chosen.private, message=chosen.message)
    stdout().print(f"published: {address}", soft_wrap=True)
