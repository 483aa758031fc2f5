/* What one directory told of users, verified and kept; and holding what several told against each other. */
#pragma once

#include "c2c/directory_cache.h"

typedef struct {
  IdentityPublic directory;
  gint64 time;    /* seconds since 1970, by the directory's clock */
  guint64 number; /* of a head that is not newer */
  DirectorySigned proof;
  GPtrArray *records; /* of Record */
} DirectoryTold;
void directory_told_free(DirectoryTold *told);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DirectoryTold, directory_told_free)

/* From an answer to a LOOKUP or LIST; its records go into the cache. NULL: HOSTILE, DENIED, or what the
 * answer says in place of one. */
DirectoryTold *directory_told_new(DirectoryCache *cache, const DirectoryPlace *place,
                                  const DirectoryQuestion *question, const DirectoryAnswer *answer,
                                  GError **error);

/* The record of that user, NULL where it told none. */
Record *directory_told_record(const DirectoryTold *told, const IdentityPublic *origin);

/* As a result. */
DirectoryResult *directory_told_result(const DirectoryTold *told, Record *record);

/* As results, of DirectoryResult; of whom the cache knows another record, which is newer then, that one. */
GPtrArray *directory_told_results(const DirectoryTold *told, DirectoryCache *cache);

/* What is known best of a user, and the directory that told it. */
typedef struct {
  Record *record;
  IdentityPublic witness;
} DirectoryBest;

/* Holds what a directory told against the best: a complaint, or the end of one, and evidence where it has
 * taken back what it had signed itself (`before`: what the cache had; may be NULL). `whole`: it was asked by
 * origin, so that it had to tell of a user whose home it is. TRUE: it may be hiding that user, but was not
 * asked by origin. */
gboolean directory_told_hold(const DirectoryTold *told, const DirectoryBest *best,
                             const DirectoryResult *before, gboolean whole, DirectoryCache *cache);
