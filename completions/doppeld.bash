# Completion of doppeld for bash: verbs and options are those that --help tells.

_doppeld_names()
{
    doppeld "$@" 2>/dev/null | awk 'NR > 1 { print $1 }'
}

_doppeld()
{
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} verb=${COMP_WORDS[1]} action=${COMP_WORDS[2]}
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        COMPREPLY=($(compgen -W "$(doppeld --help 2>/dev/null | awk '/^  [a-z]+ +[A-Z]/ { print $1 }')" -- "$current"))
    elif [[ $previous == --root || $previous == --state || $previous == --tmp ]]; then
        COMPREPLY=($(compgen -d -- "$current"))
    elif [[ $current == -* ]]; then
        COMPREPLY=($(compgen -W "$(doppeld "$verb" --help 2>/dev/null | grep -o -- '--[a-z0-9-]*' | sort -u)" -- "$current"))
    elif [[ $verb == base ]] && ((COMP_CWORD == 2)); then
        COMPREPLY=($(compgen -W 'add list remove check' -- "$current"))
    elif [[ $verb == base && $action == add ]]; then
        COMPREPLY=($(compgen -d -- "$current") $(compgen -f -X '!*.deb' -- "$current"))
    elif [[ $verb == base && $action == remove ]]; then
        COMPREPLY=($(compgen -W "$(_doppeld_names base list)" -- "$current"))
    elif [[ $verb == revoke ]]; then
        COMPREPLY=($(compgen -W "$(_doppeld_names clones)" -- "$current"))
    fi
}

complete -F _doppeld doppeld
