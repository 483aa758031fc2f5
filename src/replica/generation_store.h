/* The store of one clone: every generation of the device's tree that is kept, and the attempt at the next.
 *
 *   HEAD          the list of generations (generation_head.h)
 *   layers/N      what one attempt changed (generation_apply.h), or what was merged from several
 *   attempt       the log of the attempt (generation_log.h); the layers that it names, and the newest layer,
 * are not in HEAD yet leases/       generation_lease.h empty/        nothing, for generation_view.h
 *   writer.lock   held by the one who writes; head.lock: generation_lease.h
 *
 * A generation is there when HEAD says so, and HEAD is replaced whole: a crash at any moment leaves the old
 * one or the new one. What is in `layers` and neither HEAD nor the attempt nor a lease names is removed by
 * the next who opens the store. The layer that an attempt writes to is made anew from the log after a crash.
 *
 * The directory is its owner's alone (0700): there are set-id programs and device nodes of another machine in
 * it. */
#pragma once

#include "replica/generation.h"
#include "replica/generation_apply.h"
#include "replica/generation_head.h"
#include "replica/generation_retention.h"

typedef struct GenerationStore GenerationStore;

typedef struct {
  /* Bytes of an attempt's log after which what was done so far becomes a layer and the log begins anew, so
   * that neither the disk nor the time to recover grows with a first synchronisation. 0: 256 MiB. Each next
   * one is half as long again. */
  guint64 log_limit;
  /* Path of the host's public base (public_base.h), where the device may take contents from; NULL: it has
   * none. */
  const char *public_base;
} GenerationStoreOptions;

/* Opens the store at `path` to write to it, making it where there is none (with its directory, not with those
 * above), and recovers: what a crash left half-made is completed or removed. `options` may be NULL. NULL with
 * an error: FAILED where somebody else writes to it, HOSTILE for one that is damaged, UNSUPPORTED
 * where the file system cannot have one. */
GenerationStore *generation_store_open(const char *path, const GenerationStoreOptions *options,
                                       GError **error);
void generation_store_free(GenerationStore *store);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GenerationStore, generation_store_free)

/* The store's directory, for generation_lease_take(); borrowed. Who only reads opens it himself. */
int generation_store_directory(const GenerationStore *store);

/* All that are kept; the store's, until it changes. */
const GenerationHead *generation_store_head(const GenerationStore *store);

typedef struct {
  guint8 identity[GENERATION_IDENTITY]; /* random, of this attempt */
  guint64 generation;                   /* that it is to become */
  guint64 durable;                      /* number of the last step that no crash of this machine undoes */
  guint64 last;                         /* number of the last step that was done */
} GenerationAttempt;

/* Begins an attempt, or continues the one that there is, after the step `last`. Where a COMMIT was in the log
 * but could not be done, it is now, and the attempt is a new one, at the generation after. FALSE with an
 * error: a full disk, with which an attempt cannot be made anew from its log; the log stays. */
gboolean generation_store_begin(GenerationStore *store, GenerationAttempt *attempt, GError **error);

/* The same, where an attempt that is new has the identity that its device chose. */
gboolean generation_store_begin_as(GenerationStore *store, const guint8 identity[static GENERATION_IDENTITY],
                                   GenerationAttempt *attempt, GError **error);

/* Does the step in `message` (hostile), the one after the last. On COMPLETE its generation is there and the
 * attempt is over. On REFUSED with an error (generation_apply.h; a full disk) generation_store_begin() tells
 * where to go on; only HOSTILE and MISMATCH leave nothing to be continued but generation_store_abandon(). */
GenerationOutcome generation_store_feed(GenerationStore *store, GBytes *message, GError **error);

/* How far the attempt is. FALSE: there is none. */
gboolean generation_store_attempt(const GenerationStore *store, GenerationAttempt *attempt);

/* Makes all steps that were done durable; the loop of the caller does that when they are due. Microseconds
 * until then; -1: nothing waits. */
gboolean generation_store_sync(GenerationStore *store, GError **error);
gint64 generation_store_due_us(const GenerationStore *store);

/* Gives the attempt up. */
gboolean generation_store_abandon(GenerationStore *store, GError **error);

/* What the attempt, or the last one of this process, could not keep; NULL: none was made. */
const GenerationLosses *generation_store_losses(const GenerationStore *store);

/* Removes the layers that nothing needs, and nobody reads any more. */
gboolean generation_store_sweep(GenerationStore *store, GError **error);

#define GENERATION_STACK_USUAL 24 /* layers */
#define GENERATION_STACK_MOST  64 /* with more, generation_store_begin() tidies up: each costs descriptors */

/* Gives up the generations that `retention` does not keep and nobody reads, merges the layers that then need
 * not be apart, and more, oldest first, until the newest generation has at most `stack` of them; and removes
 * the layers that nothing needs. The lowest layer is merged at most once an hour for the former reason.
 * Generations that stay show the same as before. FALSE with an error; nothing is lost then. */
gboolean generation_store_tidy(GenerationStore *store, const GenerationRetention *retention, guint stack,
                               GError **error);
