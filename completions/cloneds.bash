# Completion of cloneds for bash: verbs and options are those that --help tells.

_cloneds()
{
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} verb=${COMP_WORDS[1]}
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        COMPREPLY=($(compgen -W "$(cloneds --help 2>/dev/null | awk '/^  [a-z]+ +[A-Z]/ { print $1 }')" -- "$current"))
    elif [[ $previous == --state ]]; then
        COMPREPLY=($(compgen -d -- "$current"))
    elif [[ $current == -* ]]; then
        COMPREPLY=($(compgen -W "$(cloneds "$verb" --help 2>/dev/null | grep -o -- '--[a-z0-9-]*' | sort -u)" -- "$current"))
    elif [[ $verb == peer ]]; then
        case $previous in
            peer) COMPREPLY=($(compgen -W "add list remove" -- "$current")) ;;
            remove) COMPREPLY=($(compgen -W "$(cloneds peer list 2>/dev/null | awk 'NR > 1 { print $1 }')" -- "$current")) ;;
        esac
    elif [[ $verb == show ]]; then
        COMPREPLY=($(compgen -W "$(cloneds list 2>/dev/null | awk 'NR > 1 { print $1 }')" -- "$current"))
    fi
}

complete -F _cloneds cloneds
