/* What is remembered of directories on a client's disk: users' records, heads, contradictions, complaints.
 * May be used by several threads at once. */
#pragma once

#include "c2c/directory_client.h"

typedef struct DirectoryCache DirectoryCache;

DirectoryCache *directory_cache_open(const char *path, GError **error);
DirectoryCache *directory_cache_ref(DirectoryCache *cache);
void directory_cache_close(DirectoryCache *cache); /* by the last one that has it */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DirectoryCache, directory_cache_close)

/* Nobody else changes it until that is freed: for what asks first and writes then. */
GRecMutexLocker *directory_cache_lock(DirectoryCache *cache);

/* Keeps a record unless a newer one of that user is there: 1 when it is the newest now (or was already), 0
 * where *newer (may be NULL; the caller's) is, -1 with an error. `found` may be NULL: no directory said so.
 * What a directory said again is kept with the later time. */
int directory_cache_put(DirectoryCache *cache, Record *record, const DirectoryFound *found,
                        const DirectorySigned *proof, Record **newer, GError **error);

/* Results (cached), by name or (NULL) origin, of the directory `home` or (NULL) any. NULL with an error. */
GPtrArray *directory_cache_find(DirectoryCache *cache, const char *name, const IdentityPublic *origin,
                                const IdentityPublic *home, GError **error);

/* Heads. A head is *linked* when it is known to be of one log with all others that are linked. */
gboolean directory_cache_add_head(DirectoryCache *cache, const DirectoryHead *head, gboolean linked,
                                  GError **error);

/* The linked head of the highest number: 1, 0, -1. */
int directory_cache_anchor(DirectoryCache *cache, const IdentityPublic *directory, DirectoryHead *head,
                           GError **error);

/* The head of exactly that number and another chain, if there is one: 1, 0, -1. */
int directory_cache_other_head(DirectoryCache *cache, const DirectoryHead *head, DirectoryHead *other,
                               GError **error);

/* Heads that are not linked, lower numbers first: an array of DirectoryHead. */
GArray *directory_cache_unlinked(DirectoryCache *cache, const IdentityPublic *directory, GError **error);

/* It is no part of the log of the others, and evidence now. */
gboolean directory_cache_drop_head(DirectoryCache *cache, const DirectoryHead *head, GError **error);

/* The head is part of the log: linked. Only the highest linked one is kept. */
gboolean directory_cache_link(DirectoryCache *cache, const DirectoryHead *head, GError **error);

/* The newest of each directory. */
GArray *directory_cache_heads(DirectoryCache *cache, GError **error);

/* The pass that a directory gave to a key: 1, 0, -1. */
int directory_cache_pass(DirectoryCache *cache, const IdentityPublic *directory, const IdentityPublic *key,
                         DirectoryPass *pass, GError **error);
gboolean directory_cache_keep_pass(DirectoryCache *cache, const IdentityPublic *directory,
                                   const IdentityPublic *key, const DirectoryPass *pass, GError **error);

gboolean directory_cache_add_evidence(DirectoryCache *cache, const IdentityPublic *directory,
                                      const DirectorySigned *first, const DirectorySigned *second,
                                      const char *words, GError **error);
GPtrArray *directory_cache_evidence(DirectoryCache *cache, const IdentityPublic *directory, GError **error);
GArray *directory_heads_new(void);

/* The directory did what the complaint says, at complaint->last (again). And: it did right by that user. */
gboolean directory_cache_complain(DirectoryCache *cache, const DirectoryComplaint *complaint, GError **error);
gboolean directory_cache_uncomplain(DirectoryCache *cache, const IdentityPublic *directory,
                                    const IdentityPublic *origin, GError **error);
GPtrArray *directory_cache_complaints(DirectoryCache *cache, const IdentityPublic *origin, GError **error);
