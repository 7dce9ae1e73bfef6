"""The completion scripts of shells; each asks `distillkit -sc query=bash` for whole words."""

from distillkit.errors import ConfigError

BASH = """\
_distillkit() {
    local words
    words=$(COMP_LINE="${COMP_LINE:0:$COMP_POINT}" COMP_POINT="$COMP_POINT" \\
        "${COMP_WORDS[0]}" -sc query=bash 2>/dev/null)
    # bash cuts words at "=" and ":"; what it has of the word is cut off the answers too
    local typed="${COMP_LINE:0:$COMP_POINT}"
    typed="${typed##* }"
    local known="${typed%"${COMP_WORDS[COMP_CWORD]}"}"
    [[ "${COMP_WORDS[COMP_CWORD]}" == "=" ]] && known="$typed"
    local word
    COMPREPLY=()
    for word in $words; do
        [[ "$word" == "$typed"* ]] && COMPREPLY+=("${word#"$known"}")
    done
    [[ "${COMPREPLY[0]}" == *[=./] ]] && compopt -o nospace
    return 0
}
complete -o default -F _distillkit distillkit
"""
ZSH = """\
_distillkit() {
    local line="${(j: :)words[1,CURRENT-1]} $PREFIX" word
    local -a found going_on whole
    found=(${=$(COMP_LINE="$line" COMP_POINT="${#line}" "${words[1]}" -sc query=bash 2>/dev/null)})
    for word in $found; do
        [[ "$word" == *[=./] ]] && going_on+=("$word") || whole+=("$word")
    done
    (( $#going_on )) && compadd -S '' -a going_on
    (( $#whole )) && compadd -a whole
    if (( ! $#found )); then
        compset -P '*='
        _files
    fi
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
compdef _distillkit distillkit
"""
FISH = """\
function __distillkit
    set -l line (commandline -cp)
    COMP_LINE="$line" COMP_POINT=(string length -- "$line") distillkit -sc query=bash 2>/dev/null \\
        | string split -n ' '
end
complete -c distillkit -a '(__distillkit)'
"""
HOW = "`distillkit completion SHELL` writes the script that asks for words"
HELP = """\
usage: distillkit completion [bash|zsh|fish]

Write the script that completes commands, recipes, groups and settings; bash if no shell is named.

  eval "$(distillkit completion zsh)"     in this shell; in its start file, in every one
"""
SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


def script(words: list[str]) -> str:
    """The script of `distillkit completion SHELL`, or help; `ConfigError` for another shell."""
    if "--help" in words or "-h" in words:
        return HELP
    shell = words[0] if words else "bash"
    if len(words) > 1 or shell not in SCRIPTS:
        raise ConfigError(f"completion {' '.join(words)}: there is one for {', '.join(SCRIPTS)}")
    return SCRIPTS[shell]
