/* Whose something is that a clone host keeps: the key that the device proved which began it, in a file of its
 * 32 bytes. Devices of one clone have one owner, and yet not one truth: what a program did for one of them is
 * no other's files (docs/decisions/0020-loss-of-a-device.md). What has no such file is nobody's, as is one of
 * which the file is damaged. */
#pragma once

#include "identity/key.h"

/* Writes it down, durably, over whatever was there. FALSE with errno. */
gboolean owner_note(int directory, const char *name, const IdentityPublic *device);

/* Who it is. FALSE: nobody. */
gboolean owner_read(int directory, const char *name, IdentityPublic *device);

/* Whether it is that of `device`; NULL: of whoever asks, where there is but one. */
gboolean owner_is(int directory, const char *name, const IdentityPublic *device);
