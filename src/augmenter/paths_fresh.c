#include <errno.h>
#include <string.h>

#include "augmenter/paths_private.h"
#include "replica/path.h"

typedef struct {
  Paths *paths;
  PathsLayer *layer; /* NULL: the clone cannot change what is there */
  const char *path, *rest;
  KnownPath *known;
  Freshness need;
  const PathsAsk *ask;
  ReplicaFacts own, device;
  int own_failure;
  char **reason;
} Bringing;

static PathsVerdict
give_up(Bringing *bringing, PathsVerdict verdict, const char *why)
{
  g_free(*bringing->reason);
  *bringing->reason = g_strdup_printf("%s: %s", bringing->path, why);
  return verdict;
}

/* The clone cannot have it: the device does it by itself. */
static PathsVerdict
in_trouble(Bringing *bringing, const char *why)
{
  if (bringing->known->trouble != why) {
    g_free(bringing->known->trouble);
    bringing->known->trouble = g_strdup(why);
  }
  return give_up(bringing, PATHS_CUT, why);
}

static PathsVerdict
is_fresh(Bringing *bringing, Freshness fresh)
{
  bringing->known->fresh = MAX(bringing->known->fresh, fresh);
  return PATHS_NATIVE;
}

static void
read_own(Bringing *bringing, gboolean hash)
{
  int root = bringing->layer ? bringing->layer->replica->merged : bringing->paths->root;
  const char *rest = bringing->layer ? bringing->rest : bringing->path + 1;
  replica_facts_clear(&bringing->own);
  bringing->own_failure = replica_facts_read(root, rest, hash ? REPLICA_READ_HASH : 0, NULL, &bringing->own);
  replica_facts_clear(&bringing->device);
  known_copy_facts(bringing->known, bringing->own_failure ? NULL : &bringing->own, &bringing->device);
}

static gboolean
is_local(const Bringing *bringing)
{
  return augmenter_is_local(bringing->paths->augmenter);
}

static ReplicaVerdict
check(const Bringing *bringing)
{
  return replica_check(&bringing->device, bringing->known->failure, &bringing->own, bringing->own_failure,
                       is_local(bringing) ? REPLICA_CHECK_TRUST_TIMES : 0);
}

/* To walk through a directory its times do not matter; nor does anything of a link but its target. */
static gboolean
way_is_same(const Bringing *bringing)
{
  const guint directory = REPLICA_FACT_MODE | REPLICA_FACT_OWNER | REPLICA_FACT_XATTRS;
  if (bringing->known->failure || bringing->own_failure || bringing->own.type != bringing->device.type)
    return FALSE;
  switch (bringing->device.type) {
  case REPLICA_DIRECTORY:
    return replica_facts_equal(&bringing->device, &bringing->own, directory);
  case REPLICA_SYMLINK:
    return replica_facts_equal(&bringing->device, &bringing->own, REPLICA_FACT_TARGET);
  case REPLICA_FILE: /* nothing is below it */
    return !bringing->device.pseudo;
  default:
    return FALSE;
  }
}

static PathsVerdict
fix(Bringing *bringing, ReplicaVerdict verdict, Freshness fresh)
{
  g_autoptr(GError) error = NULL;
  if (!bringing->layer)
    return in_trouble(bringing, "the clone has another, and cannot change it");
  if (replica_fix(&bringing->layer->copy, bringing->rest, verdict, &bringing->device, &error))
    return is_fresh(bringing, fresh);
  /* Over the device's own tree it may be one that overlayfs still takes for a former one. */
  bringing->paths->worn |= is_local(bringing);
  return in_trouble(bringing, error->message);
}

static PathsVerdict
bring_content(Bringing *bringing)
{
  if (!bringing->layer)
    return in_trouble(bringing, "the clone has another version, and cannot change it");
  return pull_start(bringing->paths, bringing->layer, bringing->path, bringing->rest, bringing->reason);
}

/* Everything that can be seen is equal, which for a content may say little. */
static PathsVerdict
compare_hashes(Bringing *bringing)
{
  if (bringing->need < FRESH_WHOLE) {
    gboolean same = replica_facts_equal(&bringing->device, &bringing->own, REPLICA_FACT_METADATA);
    return same ? is_fresh(bringing, FRESH_LOOK) : fix(bringing, REPLICA_CHECK_FIX_METADATA, FRESH_LOOK);
  }
  if (!bringing->known->facts.hashed)
    return question_path(bringing->paths, bringing->path, &(PathsAsk){bringing->path, FALSE, TRUE},
                         bringing->reason);
  return in_trouble(bringing, "the clone's copy cannot be read");
}

static gboolean
parent_touched(const Bringing *bringing)
{
  g_autofree char *parent = replica_path_parent(bringing->rest);
  return !bringing->layer || layer_touched(bringing->layer, parent);
}

/* Sockets and the like may be looked at, where the clone's is alike; and where the user may not look, the
 * program in the clone may not either. */
static PathsVerdict
judge_device_only(Bringing *bringing)
{
  const KnownPath *known = bringing->known;
  const guint visible = REPLICA_FACT_TYPE | REPLICA_FACT_RDEV | REPLICA_FACT_METADATA;
  if (known->failure == EACCES && (is_local(bringing) || !parent_touched(bringing)))
    return PATHS_NATIVE;
  if (known->failure)
    return give_up(bringing, PATHS_CUT, g_strerror(known->failure));
  if (bringing->need < FRESH_WHOLE && !known->facts.pseudo && !bringing->own_failure &&
      replica_facts_equal(&bringing->device, &bringing->own, visible))
    return is_fresh(bringing, FRESH_LOOK);
  return give_up(bringing, PATHS_CUT, "lives on the device");
}

static PathsVerdict
compare(Bringing *bringing)
{
  read_own(bringing, bringing->known->facts.hashed && bringing->need == FRESH_WHOLE);
  if (bringing->need == FRESH_WAY && way_is_same(bringing))
    return is_fresh(bringing, FRESH_WAY);
  gboolean directory = bringing->device.type == REPLICA_DIRECTORY;
  ReplicaVerdict verdict = check(bringing);
  switch (verdict) {
  case REPLICA_CHECK_SAME:
    return is_fresh(bringing, directory ? FRESH_LOOK : FRESH_WHOLE);
  case REPLICA_CHECK_NEED_HASH:
    return compare_hashes(bringing);
  case REPLICA_CHECK_FIX_METADATA:
  case REPLICA_CHECK_CREATE:
  case REPLICA_CHECK_REMOVE:
    return fix(bringing, verdict, directory ? FRESH_LOOK : FRESH_WHOLE);
  case REPLICA_CHECK_PULL_CONTENT:
    return bring_content(bringing);
  case REPLICA_CHECK_DEVICE_ONLY:
  default:
    return judge_device_only(bringing);
  }
}

/* All names of its directory are known, and it is not among them. */
static gboolean
known_absent(const Paths *paths, const char *path)
{
  g_autofree char *parent = replica_path_parent(path);
  const KnownPath *known = known_find(paths, *parent ? parent : "/");
  return known && known->listed;
}

static PathsVerdict
bring_absent(Bringing *bringing)
{
  struct stat own;
  if (!layers_look(bringing->paths, bringing->path, &own) && errno == ENOENT)
    return PATHS_NATIVE;
  /* It is not kept as known: the device has not told it, and will not say when it changes. */
  KnownPath absent = {.failure = ENOENT};
  bringing->known = &absent;
  PathsVerdict verdict = compare(bringing);
  g_free(absent.trouble);
  return verdict;
}

static PathsVerdict
bring_listing(Bringing *bringing)
{
  if (!bringing->known || bringing->known->facts.type != REPLICA_DIRECTORY || bringing->known->listed ||
      !bringing->layer)
    return PATHS_NATIVE;
  struct stat own;
  if (!layers_look(bringing->paths, bringing->path, &own) || !S_ISDIR(own.st_mode) ||
      layer_made(bringing->layer, bringing->rest))
    return PATHS_NATIVE;
  if (bringing->known->trouble)
    return in_trouble(bringing, bringing->known->trouble);
  return question_directory(bringing->paths, bringing->path, bringing->reason);
}

static PathsVerdict
bring_itself(Bringing *bringing)
{
  if (bringing->known && bringing->known->trouble)
    return in_trouble(bringing, bringing->known->trouble);
  if (bringing->layer && layer_touched(bringing->layer, bringing->rest))
    return PATHS_NATIVE;
  if (!bringing->known && known_absent(bringing->paths, bringing->path))
    return bring_absent(bringing);
  if (!bringing->known)
    return question_path(bringing->paths, bringing->path, bringing->ask, bringing->reason);
  return compare(bringing);
}

PathsVerdict
fresh_bring(Paths *paths, const char *path, Freshness need, const PathsAsk *ask, char **reason)
{
  Bringing bringing = {.paths = paths, .path = path, .need = need, .ask = ask, .reason = reason};
  bringing.known = known_find(paths, path);
  gboolean directory = bringing.known && bringing.known->facts.type == REPLICA_DIRECTORY;
  /* What a directory is as a whole is its looks, and its names. */
  Freshness own_need = directory ? MIN(need, FRESH_LOOK) : need;
  if (bringing.known && bringing.known->fresh >= own_need && (own_need == need || bringing.known->listed))
    return PATHS_NATIVE;
  bringing.layer = layer_of(paths, path, &bringing.rest);
  /* A place that is the real thing, seen as it is. */
  gboolean real = !bringing.layer && is_local(&bringing);
  if (real && (bringing.known || !paths->augmenter->sandbox->one_id))
    return PATHS_NATIVE;
  if (real) /* whose it is only the device can say */
    return question_path(paths, path, ask, reason);
  PathsVerdict verdict = PATHS_NATIVE;
  if (!bringing.known || bringing.known->fresh < own_need)
    verdict = bring_itself(&bringing);
  replica_facts_clear(&bringing.own);
  replica_facts_clear(&bringing.device);
  bringing.known = known_find(paths, path);
  return verdict == PATHS_NATIVE && need == FRESH_WHOLE ? bring_listing(&bringing) : verdict;
}
