/* How a recovery phrase gets from the program to a person: once, and nowhere else. */
#pragma once

#include "identity/recovery.h"

void phrase_output(const IdentityRecovery *recovery);
