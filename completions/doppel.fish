# Completion of doppel for fish.

set -l verbs run trace symbols doctor pair clones keep unpair help version

function __doppel_clones
    echo local
    doppel clones 2>/dev/null | awk 'NR > 1 { print $1 }'
end

complete -c doppel -n "not __fish_seen_subcommand_from $verbs" -f
complete -c doppel -n "not __fish_seen_subcommand_from $verbs" -a run -d 'Run a program, the expensive part of it in a clone'
complete -c doppel -n "not __fish_seen_subcommand_from $verbs" -a trace -d 'Run a program and write a timeline of it'
complete -c doppel -n "not __fish_seen_subcommand_from $verbs" -a symbols -d 'List the functions that can be named'
complete -c doppel -n "not __fish_seen_subcommand_from $verbs" -a doctor -d 'Try what this kernel and processor offer'
complete -c doppel -n "not __fish_seen_subcommand_from $verbs" -a pair -d "Accept a clone host's invitation"
complete -c doppel -n "not __fish_seen_subcommand_from $verbs" -a clones -d 'List the paired clones'
complete -c doppel -n "not __fish_seen_subcommand_from $verbs" -a keep -d 'Keep a connection to a clone ready'
complete -c doppel -n "not __fish_seen_subcommand_from $verbs" -a unpair -d 'Forget a clone'
complete -c doppel -n "not __fish_seen_subcommand_from $verbs" -a help -d 'Show the help of a verb'
complete -c doppel -n "not __fish_seen_subcommand_from $verbs" -a version -d 'Show the version'

complete -c doppel -n '__fish_seen_subcommand_from trace' -s o -l output -r -F -d 'Where the timeline goes'
complete -c doppel -n '__fish_seen_subcommand_from run trace' -s f -l function -x -d 'Off-load this function'
complete -c doppel -n '__fish_seen_subcommand_from run trace' -l whole -d 'Run all of it in the clone'
complete -c doppel -n '__fish_seen_subcommand_from run trace' -l place -x -a 'auto device clone' -d Where
complete -c doppel -n '__fish_seen_subcommand_from run trace' -l clone -x -a '(__doppel_clones)' -d 'Which clone'
complete -c doppel -n '__fish_seen_subcommand_from run trace' -l stats -d 'Statistics at the end'
complete -c doppel -n '__fish_seen_subcommand_from run trace' -l explain -d 'Say why something runs on the device'
complete -c doppel -n '__fish_seen_subcommand_from run trace' -l resume-timeout -x -d 'Seconds that a link may take to come back'
complete -c doppel -n '__fish_seen_subcommand_from run trace' -l track -x -a 'auto pagemap soft-dirty hash' -d 'How changed memory is found'
complete -c doppel -n '__fish_seen_subcommand_from run trace' -l without -x -a 'pull push known changes' -d 'Switch off ways to send less'
complete -c doppel -n '__fish_seen_subcommand_from run trace' -l lazy-return -d 'Leave memory in the clone until it is touched'
complete -c doppel -n '__fish_seen_subcommand_from run trace' -l keep -x -d 'How long a connection stays ready afterwards'
complete -c doppel -n '__fish_seen_subcommand_from run trace' -a '(__fish_complete_subcommand --fcs-skip=2)'

complete -c doppel -n '__fish_seen_subcommand_from symbols' -s l -l lib -x -d 'Only this library'
complete -c doppel -n '__fish_seen_subcommand_from symbols' -s a -l all -d 'Every function'
complete -c doppel -n '__fish_seen_subcommand_from symbols doctor clones' -l json -d 'Print JSON'
complete -c doppel -n '__fish_seen_subcommand_from symbols' -a '(__fish_complete_command)'
complete -c doppel -n '__fish_seen_subcommand_from keep' -l idle -x -d 'End when no run has come for so long'
complete -c doppel -n '__fish_seen_subcommand_from keep' -l stop -d 'End it'
complete -c doppel -n '__fish_seen_subcommand_from pair' -s n -l name -x -d 'What to call the clone'
complete -c doppel -n '__fish_seen_subcommand_from clones' -l address -x -d 'Where it is from now on'
complete -c doppel -n '__fish_seen_subcommand_from unpair' -l forget -d 'Do not ask the host'
complete -c doppel -n '__fish_seen_subcommand_from clones keep unpair' -f -a '(__doppel_clones | tail -n +2)'
complete -c doppel -n '__fish_seen_subcommand_from help' -f -a 'run trace symbols doctor pair clones keep unpair'
