"""Tab completion of ``python -m stdo.train …`` in bash. Standard library alone.

Hydra completes programs by their name, and scripts; not modules.
"""

from __future__ import annotations

from stdo.cli.commands import COMMANDS

_BASH = r"""
_stdo_python() {
    local line=${COMP_LINE:0:COMP_POINT} words word
    read -ra words <<< "$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    word=${words[${#words[@]}-1]}
    COMPREPLY=()
    if [[ ${#words[@]} -eq 3 && ${words[1]} == -m && stdo == "${word:0:4}" ]]; then
        COMPREPLY=($(compgen -W "@COMMANDS@" -- "$word"))
    elif [[ ${#words[@]} -gt 3 && ${words[1]} == -m && ${words[2]} == stdo.* ]]; then
        line="stdo ${line#*"${words[2]}"}"
        COMPREPLY=($(compgen -W "$(COMP_LINE=$line COMP_POINT=${#line} \
            "${words[0]}" -m "${words[2]}" -sc query=bash 2> /dev/null)" -- "$word"))
    elif [[ -n $_stdo_before ]]; then
        "$_stdo_before" "$@"
    fi
}
[[ $_stdo_before ]] || _stdo_before=$(complete -p python 2> /dev/null |
    sed -n 's/.* -F \([^ ]*\) .*/\1/p')
COMP_WORDBREAKS=${COMP_WORDBREAKS//=}
complete -o nospace -o default -F _stdo_python python python3
"""


def script() -> str:
    """What bash evaluates. Files are completed where this knows nothing, and another completion of
    ``python`` still has what is not ours."""
    return _BASH.lstrip().replace("@COMMANDS@", " ".join(f"stdo.{name}" for name in COMMANDS))
