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

_doppel_jobs()
{
    doppel jobs 2>/dev/null | awk 'NR > 1 { print $1 }'
}

_doppel_generations()
{
    doppel snapshots 2>/dev/null | awk 'NR > 1 { print $1 }'
}

_doppel_directories()
{
    doppel name directory 2>/dev/null | awk 'NR > 1 { print $1 }'
}

_doppel_checkpoints()
{
    doppel checkpoints 2>/dev/null | awk 'NR > 1 { print $1 }'
}

_doppel_inbox()
{
    doppel inbox 2>/dev/null | awk 'NR > 1 { print $1 }'
}

_doppel_documents()
{
    local direct=()
    [[ " ${COMP_WORDS[*]} " != *" --direct "* ]] || direct=(--direct)
    doppel doc list --offline "${direct[@]}" 2>/dev/null | awk 'NR > 1 { print $1 }'
}

# Programs of which there is a profile.
_doppel_profiles()
{
    doppel profile --list 2>/dev/null | awk 'NR > 1 { print $1 }'
}

_doppel_models()
{
    doppel energy models 2>/dev/null | awk 'NR > 1 { print $1 }'
}

_doppel_shares()
{
    doppel shares 2>/dev/null | awk 'NR > 1 { print $1 }'
}

_doppel()
{
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} verb=${COMP_WORDS[1]} i output
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        COMPREPLY=($(compgen -W 'run trace symbols doctor pair clones keep jobs logs wait kill checkpoints resume sync agent status snapshots diff restore whois peers allow deny contacts group send outbox inbox share unshare shares search get doc forward gateway plan energy profile rules unpair name demo help version' -- "$current"))
        return
    fi
    case $verb in
        run | trace)
            case $previous in
                -f | --function) COMPREPLY=($(compgen -W "$(_doppel_functions "$current")" -- "$current")); return ;;
                -p | --place) COMPREPLY=($(compgen -W 'auto device clone' -- "$current")); return ;;
                -o | --output) COMPREPLY=($(compgen -f -- "$current")); return ;;
                --track) COMPREPLY=($(compgen -W 'auto pagemap soft-dirty hash' -- "$current")); return ;;
                --objective) COMPREPLY=($(compgen -W 'time energy money' -- "$current")); return ;;
                --without)
                    # A list: what is complete of it stays.
                    [[ $current == *,* ]] && output=${current%,*},
                    COMPREPLY=($(compgen -P "${output-}" -W 'pull push known changes' -- "${current##*,}"))
                    return
                    ;;
                --limit)
                    [[ $current == *,* ]] && output=${current%,*},
                    COMPREPLY=($(compgen -P "${output-}" -W 'memory= cpu= processes= time= output= changes=' -- "${current##*,}"))
                    return
                    ;;
                -c | --clone) COMPREPLY=($(compgen -W "$(_doppel_clones)" -- "$current")); return ;;
            esac
            # What follows the program is the program's.
            for ((i = 2; i < COMP_CWORD; i++)); do
                case ${COMP_WORDS[i]} in
                    -f | --function | -o | --output | -p | --place | --objective | -c | --clone | --keep | --limit | --on | --checkpoint | --checkpoint-rate | --resume-timeout | --track | --without) ((i++)) ;;
                    -- | -*) ;;
                    *) declare -F _command_offset >/dev/null && _command_offset "$i"; return ;;
                esac
            done
            if [[ $current == -* ]]; then
                [[ $verb == trace ]] && output='-o --output' || output='-b --background --foreground --on --limit --no-sync --checkpoint --checkpoint-rate --keep-checkpoints'
                COMPREPLY=($(compgen -W "${output-} -f --function -w --whole -p --place --objective -c --clone -s --stats -e --explain --keep --resume-timeout --track --without --lazy-return --check --help" -- "$current"))
            else
                COMPREPLY=($(compgen -c -f -- "$current"))
            fi
            ;;
        symbols)
            if [[ $current == -* ]]; then
                COMPREPLY=($(compgen -W '-l --lib -a --all -m --marked --json --help' -- "$current"))
            elif ((COMP_CWORD == 2)) || [[ $previous == -* ]]; then
                COMPREPLY=($(compgen -c -f -- "$current"))
            fi
            ;;
        doctor) COMPREPLY=($(compgen -W '--json --help' -- "$current")) ;;
        pair)
            [[ $previous == --recovery ]] && output=$(_doppel_clones | tail -n +2)
            COMPREPLY=($(compgen -W "${output-} -n --name --recovery --help" -- "$current"))
            ;;
        clones) COMPREPLY=($(compgen -W "$(_doppel_clones | tail -n +2) --json --address --help" -- "$current")) ;;
        send)
            if [[ $current == -* ]]; then
                COMPREPLY=($(compgen -W '-w --wait --json --help' -- "$current"))
            elif ((COMP_CWORD > 2)); then
                COMPREPLY=($(compgen -f -- "$current"))
            fi
            ;;
        outbox) COMPREPLY=($(compgen -W 'cancel --json --help' -- "$current")) ;;
        inbox)
            [[ $previous == --to ]] && { COMPREPLY=($(compgen -d -- "$current")); return; }
            COMPREPLY=($(compgen -W "get rm $(_doppel_inbox) --to --rm --json --help" -- "$current"))
            ;;
        share)
            case $previous in
                -c | --clone) COMPREPLY=($(compgen -W "$(_doppel_clones | tail -n +2)" -- "$current")); return ;;
                -n | --name | -x | --exclude) return ;;
            esac
            if [[ $current == -* ]]; then
                COMPREPLY=($(compgen -W '-n --name -x --exclude --hidden -c --clone --help' -- "$current"))
            else
                COMPREPLY=($(compgen -d -- "$current"))
            fi
            ;;
        unshare) COMPREPLY=($(compgen -W "$(_doppel_shares) -a --all --help" -- "$current")) ;;
        shares) COMPREPLY=($(compgen -W '--json --help' -- "$current")) ;;
        search)
            [[ $previous == --on || $previous == -l || $previous == --limit || $previous == -w || $previous == --wait ]] && return
            COMPREPLY=($(compgen -W '--on -l --limit -w --wait --json --help' -- "$current"))
            ;;
        get)
            [[ $previous == -o || $previous == --to ]] && { COMPREPLY=($(compgen -f -- "$current")); return; }
            COMPREPLY=($(compgen -W '-o --to -f --force --help' -- "$current"))
            ;;
        whois) COMPREPLY=($(compgen -W '--proof --cached --json --help' -- "$current")) ;;
        peers) COMPREPLY=($(compgen -W '--list --count --directories --json --help' -- "$current")) ;;
        allow | deny) COMPREPLY=($(compgen -W '--forget --json --help' -- "$current")) ;;
        contacts) COMPREPLY=($(compgen -W 'add forget --json --help' -- "$current")) ;;
        group) COMPREPLY=($(compgen -W 'list create delete add remove send sent --json --no-wait --help' -- "$current")) ;;
        doc)
            case $previous in
                -r | --role) COMPREPLY=($(compgen -W 'reader writer owner' -- "$current")); return ;;
                --take) COMPREPLY=($(compgen -W 'file document' -- "$current")); return ;;
                --evidence | --invitation) COMPREPLY=($(compgen -f -- "$current")); return ;;
                -s | --server | --server-key | -n | --count) return ;;
            esac
            if [[ $current == -* ]]; then
                COMPREPLY=($(compgen -W '--offline --direct --invitation -s --server --server-key -r --role --from-now --take -n --count --evidence --unsent --json --help' -- "$current"))
            elif ((COMP_CWORD == 2)); then
                COMPREPLY=($(compgen -W 'list create open cat import export edit attach watch invite accept key members remove leave log verify check recover' -- "$current"))
            elif ((COMP_CWORD == 3)) && [[ ${COMP_WORDS[2]} == check ]]; then
                COMPREPLY=($(compgen -f -- "$current"))
            elif ((COMP_CWORD == 3)) && [[ ${COMP_WORDS[2]} != create ]]; then
                COMPREPLY=($(compgen -W "$(_doppel_documents)" -- "$current"))
                [[ ${COMP_WORDS[2]} != accept ]] || COMPREPLY+=($(compgen -f -- "$current"))
            elif ((COMP_CWORD == 4)); then
                case ${COMP_WORDS[2]} in
                    create | import | export | attach) COMPREPLY=($(compgen -f -- "$current")) ;;
                esac
            fi
            ;;
        forward) COMPREPLY=($(compgen -W '--accept --to --background --list --json --help' -- "$current")) ;;
        gateway)
            if [[ $previous == -c || $previous == --clone ]]; then
                COMPREPLY=($(compgen -W "$(_doppel_clones | tail -n +2)" -- "$current"))
            else
                COMPREPLY=($(compgen -W '--idle -c --clone --background --help' -- "$current"))
            fi
            ;;
        keep)
            if [[ $current == -* ]]; then
                COMPREPLY=($(compgen -W '--idle --stop --help' -- "$current"))
            else
                COMPREPLY=($(compgen -W "$(_doppel_clones | tail -n +2)" -- "$current"))
            fi
            ;;
        jobs | logs | wait | kill)
            if [[ $previous == -c || $previous == --clone ]]; then
                COMPREPLY=($(compgen -W "$(_doppel_clones | tail -n +2)" -- "$current"))
                return
            fi
            case $verb in
                jobs) output=--json ;;
                logs) output='-f --follow --stdout --stderr' ;;
                wait) output=--adopt ;;
                kill) output=--now ;;
            esac
            if [[ $current == -* ]]; then
                COMPREPLY=($(compgen -W "${output-} -c --clone --help" -- "$current"))
            elif [[ $verb != jobs ]]; then
                COMPREPLY=($(compgen -W "$(_doppel_jobs)" -- "$current"))
            fi
            ;;
        checkpoints | resume)
            if [[ $previous == -c || $previous == --clone ]]; then
                COMPREPLY=($(compgen -W "$(_doppel_clones | tail -n +2)" -- "$current"))
            elif [[ $current == -* ]]; then
                [[ $verb == resume ]] && output='--here --force --again' || output='--json --remove --force'
                COMPREPLY=($(compgen -W "$output -c --clone --help" -- "$current"))
            else
                COMPREPLY=($(compgen -W "$(_doppel_checkpoints)" -- "$current"))
            fi
            ;;
        sync)
            case $previous in
                -c | --clone) COMPREPLY=($(compgen -W "$(_doppel_clones | tail -n +2)" -- "$current")); return ;;
                --limit) return ;;
                --root) COMPREPLY=($(compgen -d -- "$current")); return ;;
            esac
            if [[ $current == -* ]]; then
                COMPREPLY=($(compgen -W '-c --clone -n --dry-run --limit --root --walk --json --help' -- "$current"))
            else
                COMPREPLY=($(compgen -f -- "$current"))
            fi
            ;;
        agent) COMPREPLY=($(compgen -W '--stop --help' -- "$current")) ;;
        status) COMPREPLY=($(compgen -W '--json --help' -- "$current")) ;;
        snapshots | diff)
            case $previous in
                -c | --clone) COMPREPLY=($(compgen -W "$(_doppel_clones | tail -n +2)" -- "$current")); return ;;
                --from | --to | --pin | --unpin) COMPREPLY=($(compgen -W "$(_doppel_generations)" -- "$current")); return ;;
            esac
            [[ $previous == --keep ]] && return
            [[ $verb == diff ]] && output='--from --to' || output='--keep --pin --unpin'
            if [[ $current == -* || $verb == snapshots ]]; then
                COMPREPLY=($(compgen -W "${output-} -c --clone --json --help" -- "$current"))
            else
                COMPREPLY=($(compgen -f -- "$current"))
            fi
            ;;
        restore)
            case $previous in
                -c | --clone) COMPREPLY=($(compgen -W "$(_doppel_clones | tail -n +2)" -- "$current")); return ;;
                -g | --generation) COMPREPLY=($(compgen -W "$(_doppel_generations)" -- "$current")); return ;;
                --root) COMPREPLY=($(compgen -d -- "$current")); return ;;
                --from | -n | --name) return ;;
            esac
            if [[ $current == -* ]]; then
                COMPREPLY=($(compgen -W '-o --output -f --force -c --clone --device --from --phrase-file --beside --replace -n --name -g --generation --root --onto --json --help' -- "$current"))
            else
                COMPREPLY=($(compgen -f -- "$current"))
            fi
            ;;
        unpair) COMPREPLY=($(compgen -W "$(_doppel_clones | tail -n +2) --forget --help" -- "$current")) ;;
        plan)
            case $previous in
                --objective) COMPREPLY=($(compgen -W 'time energy money' -- "$current")); return ;;
                --link) COMPREPLY=($(compgen -W 'lan wifi lte 3g all' -- "$current")); return ;;
                -c | --clone) COMPREPLY=($(compgen -W "$(_doppel_clones)" -- "$current")); return ;;
                --speed) return ;;
            esac
            if [[ $current == -* ]]; then
                COMPREPLY=($(compgen -W '--objective --link -c --clone --speed -a --all --json --help' -- "$current"))
            else
                COMPREPLY=($(compgen -c -f -- "$current"))
            fi
            ;;
        profile)
            case $previous in
                -c | --clone) COMPREPLY=($(compgen -W "$(_doppel_clones)" -- "$current")); return ;;
                -t | --time | -n | --top | --observe) return ;;
                --forget) COMPREPLY=($(compgen -W "$(_doppel_profiles)" -- "$current")); return ;;
            esac
            # What follows the program is the program's.
            for ((i = 2; i < COMP_CWORD; i++)); do
                case ${COMP_WORDS[i]} in
                    -c | --clone | -t | --time | -n | --top | --observe | --forget) ((i++)) ;;
                    -- | -*) ;;
                    *) declare -F _command_offset >/dev/null && _command_offset "$i"; return ;;
                esac
            done
            if [[ $current == -* ]]; then
                COMPREPLY=($(compgen -W '-c --clone -t --time -o --output --observe --no-sync -n --top --json -l --list --forget --help' -- "$current"))
            else
                COMPREPLY=($(compgen -c -f -- "$current"))
            fi
            ;;
        energy)
            case $previous in
                -s | --seconds) return ;;
                --sys) COMPREPLY=($(compgen -d -- "$current")); return ;;
                show) COMPREPLY=($(compgen -W "$(_doppel_models) --json --help" -- "$current")); return ;;
                use) COMPREPLY=($(compgen -W "auto $(_doppel_models)" -- "$current")); return ;;
            esac
            if [[ $current == -* ]]; then
                COMPREPLY=($(compgen -W '-s --seconds --sys --json --help' -- "$current"))
            elif ((COMP_CWORD == 2)); then
                COMPREPLY=($(compgen -W 'show models use calibrate' -- "$current"))
            fi
            ;;
        rules)
            case $previous in
                set | unset) COMPREPLY=($(compgen -W 'nice no-terminal scheduled programs' -- "$current")); return ;;
                nice) return ;;
                no-terminal | scheduled) COMPREPLY=($(compgen -W 'true false' -- "$current")); return ;;
                test | add | remove) COMPREPLY=($(compgen -c -- "$current")); return ;;
            esac
            if [[ $current == -* ]]; then
                COMPREPLY=($(compgen -W '--json --help' -- "$current"))
            elif ((COMP_CWORD == 2)); then
                COMPREPLY=($(compgen -W 'list test set unset add remove' -- "$current"))
            fi
            ;;
        name)
            case $previous in
                -c | --clone) COMPREPLY=($(compgen -W "$(_doppel_clones | tail -n +2)" -- "$current")); return ;;
                -d | --directory) COMPREPLY=($(compgen -W "$(_doppel_directories)" -- "$current")); return ;;
                --phrase-file) COMPREPLY=($(compgen -f -- "$current")); return ;;
                --expires) return ;;
            esac
            output='show claim renew succeed recover revoke directory'
            [[ ${COMP_WORDS[2]} == directory ]] && ((COMP_CWORD == 3)) && output='list add remove'
            [[ ${COMP_WORDS[2]} == directory && $previous == remove ]] && output=$(_doppel_directories)
            if [[ $current == -* ]]; then
                COMPREPLY=($(compgen -W '-c --clone -d --directory --expires --phrase-file --lost --json --help' -- "$current"))
            elif ((COMP_CWORD < 4)) || [[ $previous == remove ]]; then
                COMPREPLY=($(compgen -W "$output" -- "$current"))
            fi
            ;;
        demo) COMPREPLY=($(compgen -W 'c2c --keep --help' -- "$current")) ;;
        help) COMPREPLY=($(compgen -W 'run trace symbols doctor pair clones keep jobs logs wait kill checkpoints resume sync agent status snapshots diff restore whois peers allow deny contacts group send outbox inbox share unshare shares search get doc forward gateway plan energy profile rules unpair name demo' -- "$current")) ;;
    esac
}

complete -F _doppel doppel
