/* One connection to a directory, and a question over it at a time. */
#pragma once

#include "c2c/directory_head.h"
#include "c2c/directory_place.h"

typedef struct DirectoryCall DirectoryCall;

/* By what the directory knows that the key is registered there, so that it does not take the asker for one of
 * the strangers who may be many at the same address. */
typedef struct {
  gboolean has_origin;
  IdentityPublic origin; /* of the user whose clone, device or user key it is */
  DirectoryPass pass;    /* that an earlier connection has brought; all zero: none did */
} DirectoryAsker;

/* Connects as `own`; `asker` may be NULL. NULL: GONE where nobody answers, DENIED for another key. */
DirectoryCall *directory_call_new(const DirectoryPlace *place, const IdentityKey *own,
                                  const DirectoryAsker *asker, int timeout_ms, GError **error);

/* Whether the directory has sent a pass over it. */
gboolean directory_call_pass(const DirectoryCall *call, DirectoryPass *pass);
void directory_call_free(DirectoryCall *call);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DirectoryCall, directory_call_free)

/* The same, begun: questions may be put already, and whether anybody is there turns out with the answer. */
DirectoryCall *directory_call_begin(const DirectoryPlace *place, const IdentityKey *own,
                                    const DirectoryAsker *asker, int timeout_ms, GError **error);

/* Blocks. The answer, decoded and that to this question, whatever its status. Where it has a head that is
 * verified, and *head (to be cleared by the caller; may be NULL) is it, else all zero. An answer that is OK
 * or UNKNOWN has one. NULL: GONE, HOSTILE, DENIED. */
DirectoryAnswer *directory_call_ask(DirectoryCall *call, DirectoryQuestion *question, int timeout_ms,
                                    DirectoryHead *head, GError **error);

/* In steps that do not block: puts the question; what to poll for, as link_prepare(); and, where the poll
 * returned, the answer: 1 with it as above, 0 not yet, -1 with an error (the connection is of no more use).
 */
gboolean directory_call_put(DirectoryCall *call, DirectoryQuestion *question, GError **error);
guint directory_call_prepare(DirectoryCall *call, struct pollfd *fds, int *timeout_ms);
int directory_call_work(DirectoryCall *call, DirectoryAnswer **answer, DirectoryHead *head, GError **error);

/* Clocks may be as far apart, in seconds; a statement of another time is none of now. */
#define DIRECTORY_CLOCKS_S (24 * 3600)
