/* Which directories answer, as far as this process has seen: one that does not is not waited for by who asks
 * others, too. May be used by several threads at once. */
#pragma once

#include "identity/key.h"

typedef struct DirectoryHealth DirectoryHealth;

DirectoryHealth *directory_health_new(void);
DirectoryHealth *directory_health_ref(DirectoryHealth *health);
void directory_health_unref(DirectoryHealth *health);

/* It has answered (`words` NULL), or it has not, and why. */
void directory_health_note(DirectoryHealth *health, const IdentityPublic *directory, const char *words);

#define DIRECTORY_AWAY_S 60 /* who has not answered is expected not to for so long */
gboolean directory_health_is_away(DirectoryHealth *health, const IdentityPublic *directory);

/* Seconds since 1970 when it answered last (0: not yet), and since when it does not (0: it does, or was never
 * asked); *words, the caller's, say why not, else NULL. */
void directory_health_tell(DirectoryHealth *health, const IdentityPublic *directory, gint64 *answered,
                           gint64 *away, char **words);
