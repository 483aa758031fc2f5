/* Which paths runs of a program ask about, remembered between runs: told unasked, they cost no round trip.
 *
 * A file for each clone and program in the user's directory, of a line "doppel paths 1" and then the paths,
 * each after a '+' (its content was asked for, too) or a '-' and before a NUL. One that cannot be read is as
 * good as none. */
#pragma once

#include "controller/device_told.h"

#define DEVICE_EXPECTED_MAX 1024 /* paths */

/* Reads what is expected and tells it to `told`: of DeviceTelling, owned by `told`. */
GPtrArray *device_expected_tell(const char *clone, const char *program, DeviceTold *told);

/* Remembers what was asked about in this run. */
void device_expected_keep(const char *clone, const char *program, const DeviceTold *told);
