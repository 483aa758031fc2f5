# Completion of clonedocd for fish: verbs and options are those that --help tells.

function __clonedocd_verbs
    clonedocd --help 2>/dev/null | sed -n 's/^  \([a-z]*\) *\([A-Z].*\)/\1\t\2/p'
end

function __clonedocd_options
    set -l words (commandline -opc)
    clonedocd $words[2] --help 2>/dev/null | grep -o -- '--[a-z0-9-]*' | sort -u
end

complete -c clonedocd -n '__fish_is_nth_token 1' -f -a '(__clonedocd_verbs)'
complete -c clonedocd -n 'not __fish_is_nth_token 1; and string match -q -- "-*" (commandline -ct)' -f -a '(__clonedocd_options)'
complete -c clonedocd -n '__fish_seen_subcommand_from check' -l document -x -a '(clonedocd list 2>/dev/null | awk \'NR > 1 { print $1 }\')'
