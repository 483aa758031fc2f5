/* The verbs of doppel-rig: each takes its own arguments and returns the exit status. */
#pragma once

typedef int VerbMain(int argc, char **argv);

VerbMain verb_exec, verb_control, verb_measure, verb_profiles;
