/* How a recovery phrase gets from a person into the program: never by the command line, which others can see.
 */
#pragma once

#include "identity/recovery.h"

/* From the file (NULL: asks on the terminal, again where it is mistyped; "-": standard input). */
IdentityRecovery *phrase_input(const char *file, GError **error);
