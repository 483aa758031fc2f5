# Completion of clonedocd for bash: verbs and options are those that --help tells.

_clonedocd()
{
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} verb=${COMP_WORDS[1]}
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        COMPREPLY=($(compgen -W "$(clonedocd --help 2>/dev/null | awk '/^  [a-z]+ +[A-Z]/ { print $1 }')" -- "$current"))
    elif [[ $previous == --state || $previous == --log ]]; then
        COMPREPLY=($(compgen -d -- "$current"))
    elif [[ $previous == --document ]]; then
        COMPREPLY=($(compgen -W "$(clonedocd list 2>/dev/null | awk 'NR > 1 { print $1 }')" -- "$current"))
    elif [[ $current == -* ]]; then
        COMPREPLY=($(compgen -W "$(clonedocd "$verb" --help 2>/dev/null | grep -o -- '--[a-z0-9-]*' | sort -u)" -- "$current"))
    fi
}

complete -F _clonedocd clonedocd
