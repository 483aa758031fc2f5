# Completion of doppeld for fish: verbs and options are those that --help tells.

function __doppeld_verbs
    doppeld --help 2>/dev/null | sed -n 's/^  \([a-z]*\) *\([A-Z].*\)/\1\t\2/p'
end

function __doppeld_options
    set -l words (commandline -opc)
    doppeld $words[2] --help 2>/dev/null | grep -o -- '--[a-z0-9-]*' | sort -u
end

function __doppeld_names
    doppeld $argv 2>/dev/null | awk 'NR > 1 { print $1 }'
end

complete -c doppeld -n '__fish_is_nth_token 1' -f -a '(__doppeld_verbs)'
complete -c doppeld -n 'not __fish_is_nth_token 1; and string match -q -- "-*" (commandline -ct)' -f -a '(__doppeld_options)'
complete -c doppeld -n '__fish_seen_subcommand_from base; and __fish_is_nth_token 2' -f -a 'add list remove check'
complete -c doppeld -n '__fish_seen_subcommand_from base; and __fish_seen_subcommand_from remove' -f -a '(__doppeld_names base list)'
complete -c doppeld -n '__fish_seen_subcommand_from revoke' -f -a '(__doppeld_names clones)'
