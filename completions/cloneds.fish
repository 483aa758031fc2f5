# Completion of cloneds for fish: verbs and options are those that --help tells.

function __cloneds_verbs
    cloneds --help 2>/dev/null | sed -n 's/^  \([a-z]*\) *\([A-Z].*\)/\1\t\2/p'
end

function __cloneds_options
    set -l words (commandline -opc)
    cloneds $words[2] --help 2>/dev/null | grep -o -- '--[a-z0-9-]*' | sort -u
end

complete -c cloneds -n '__fish_is_nth_token 1' -f -a '(__cloneds_verbs)'
complete -c cloneds -n 'not __fish_is_nth_token 1; and string match -q -- "-*" (commandline -ct)' -f -a '(__cloneds_options)'
complete -c cloneds -n '__fish_seen_subcommand_from show' -f -a '(cloneds list 2>/dev/null | awk \'NR > 1 { print $1 }\')'
complete -c cloneds -n '__fish_seen_subcommand_from peer; and not __fish_seen_subcommand_from add list remove' -f -a 'add list remove'
complete -c cloneds -n '__fish_seen_subcommand_from peer; and __fish_seen_subcommand_from remove' -f -a '(cloneds peer list 2>/dev/null | awk \'NR > 1 { print $1 }\')'
