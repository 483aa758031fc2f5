# Completion of doppel for bash.

# The functions that can be named of the program which follows on the command line, if it is there already.
_doppel_functions()
{
    local i program=
    # A program can only be typed after -f: complete from it when the user came back to this word.
    for ((i = COMP_CWORD + 1; i < ${#COMP_WORDS[@]}; i++)); do
        [[ ${COMP_WORDS[i]} == -* ]] || { program=${COMP_WORDS[i]}; break; }
    done
    [[ $program ]] && doppel symbols "$program" "$1" 2>/dev/null | awk 'NR > 1 { print $NF }'
}

_doppel_clones()
{
    echo local
    doppel clones 2>/dev/null | awk 'NR > 1 { print $1 }'
}

_doppel()
{
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} verb=${COMP_WORDS[1]} i output
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        COMPREPLY=($(compgen -W 'run trace symbols doctor pair clones keep unpair help version' -- "$current"))
        return
    fi
    case $verb in
        run | trace)
            case $previous in
                -f | --function) COMPREPLY=($(compgen -W "$(_doppel_functions "$current")" -- "$current")); return ;;
                -p | --place) COMPREPLY=($(compgen -W 'auto device clone' -- "$current")); return ;;
                -o | --output) COMPREPLY=($(compgen -f -- "$current")); return ;;
                -c | --clone) COMPREPLY=($(compgen -W "$(_doppel_clones)" -- "$current")); return ;;
            esac
            # What follows the program is the program's.
            for ((i = 2; i < COMP_CWORD; i++)); do
                case ${COMP_WORDS[i]} in
                    -f | --function | -o | --output | -p | --place | -c | --clone | --keep | --resume-timeout | --track | --without) ((i++)) ;;
                    -- | -*) ;;
                    *) declare -F _command_offset >/dev/null && _command_offset "$i"; return ;;
                esac
            done
            if [[ $current == -* ]]; then
                [[ $verb == trace ]] && output='-o --output'
                COMPREPLY=($(compgen -W "${output-} -f --function --whole --place --clone --stats --explain --keep --resume-timeout --track --without --lazy-return --check --help" -- "$current"))
            else
                COMPREPLY=($(compgen -c -f -- "$current"))
            fi
            ;;
        symbols)
            if [[ $current == -* ]]; then
                COMPREPLY=($(compgen -W '--lib --all --json --help' -- "$current"))
            elif ((COMP_CWORD == 2)) || [[ $previous == -* ]]; then
                COMPREPLY=($(compgen -c -f -- "$current"))
            fi
            ;;
        doctor) COMPREPLY=($(compgen -W '--json --help' -- "$current")) ;;
        pair) COMPREPLY=($(compgen -W '--name --help' -- "$current")) ;;
        clones) COMPREPLY=($(compgen -W "$(_doppel_clones | tail -n +2) --json --address --help" -- "$current")) ;;
        keep)
            if [[ $current == -* ]]; then
                COMPREPLY=($(compgen -W '--idle --stop --help' -- "$current"))
            else
                COMPREPLY=($(compgen -W "$(_doppel_clones | tail -n +2)" -- "$current"))
            fi
            ;;
        unpair) COMPREPLY=($(compgen -W "$(_doppel_clones | tail -n +2) --forget --help" -- "$current")) ;;
        help) COMPREPLY=($(compgen -W 'run trace symbols doctor pair clones keep unpair' -- "$current")) ;;
    esac
}

complete -F _doppel doppel
