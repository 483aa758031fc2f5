#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "augmenter/paths_private.h"
#include "replica/path.h"

enum { LINKS_MAX = 40 };

typedef struct {
  Paths *paths;
  pid_t tid;
  GString *at; /* where it is, without links, without a slash in the end: "" is the root */
  char *rest;
  gboolean follow;
  Freshness need;
  guint links;
  PathsPlace *place;
  char **reason;
} Walk;

/* What a step comes to: a verdict that ends the walk, or on it goes. */
typedef enum { STEP_ON, STEP_END } Step;

void
paths_place_clear(PathsPlace *place)
{
  g_clear_pointer(&place->path, g_free);
  g_clear_pointer(&place->forward, g_free);
}

static Step
end(PathsVerdict *verdict, PathsVerdict with)
{
  *verdict = with;
  return STEP_END;
}

static void
replace_rest(Walk *walk, char *rest)
{
  g_free(walk->rest);
  walk->rest = rest;
}

static Step
follow_link(Walk *walk, gsize before, PathsVerdict *verdict)
{
  char target[PATH_MAX];
  ssize_t length = readlinkat(walk->paths->root, walk->at->str + 1, target, sizeof target - 1);
  if (length < 0 || ++walk->links > LINKS_MAX || length + strlen(walk->rest) >= REPLICA_PATH_MAX)
    return end(verdict, PATHS_NATIVE); /* the kernel will say what is wrong with it */
  target[length] = '\0';
  g_string_truncate(walk->at, *target == '/' ? 0 : before);
  replace_rest(walk, g_strconcat(target, walk->rest, NULL));
  return STEP_ON;
}

/* The device looks at it, and wants to see where it leads. */
static Step
forward(Walk *walk, PathsVerdict *verdict)
{
  if (!walk->place->forward)
    walk->place->forward = g_strconcat(walk->at->str, walk->rest, NULL);
  return end(verdict, strstr(walk->place->forward, "/..") ? PATHS_CUT : PATHS_FORWARD);
}

/* Below /proc/self: magic links lead back to files. */
static Step
step_self(Walk *walk, PathsVerdict *verdict)
{
  g_autofree char *target = NULL;
  const char *rest = walk->rest;
  walk->place->special = TRUE;
  switch (special_self(walk->paths, walk->tid, &rest, walk->follow, &target, &walk->place->forward)) {
  case SPECIAL_WAY:
    walk->place->special = FALSE;
    if (++walk->links > LINKS_MAX)
      return end(verdict, PATHS_NATIVE);
    g_string_truncate(walk->at, 0);
    replace_rest(walk, g_strconcat(target, rest, NULL));
    return STEP_ON;
  case SPECIAL_DEVICE:
    return forward(walk, verdict);
  default:
    return end(verdict, PATHS_NATIVE);
  }
}

static Step
step_special(Walk *walk, SpecialKind kind, gsize before, gboolean last, PathsVerdict *verdict)
{
  switch (kind) {
  case SPECIAL_SELF:
    return step_self(walk, verdict);
  case SPECIAL_CLONE:
    walk->place->special = TRUE;
    return end(verdict, PATHS_NATIVE);
  case SPECIAL_DEVICE:
    walk->place->special = TRUE;
    return forward(walk, verdict);
  case SPECIAL_NEITHER:
    return end(verdict, PATHS_CUT);
  default: /* a way on; in the end a link of the clone's own */
    if (!layers_look(walk->paths, walk->at->str, &walk->place->own))
      return forward(walk, verdict);
    if (S_ISLNK(walk->place->own.st_mode) && (!last || walk->follow))
      return follow_link(walk, before, verdict);
    walk->place->special = last;
    return last ? end(verdict, PATHS_NATIVE) : STEP_ON;
  }
}

/* The device is to look as far as the clone will. */
static PathsVerdict
bring(Walk *walk, Freshness need)
{
  g_autofree char *question = g_strconcat(walk->at->str, walk->rest, NULL);
  PathsAsk ask = {question, walk->follow,
                  walk->need == FRESH_WHOLE && !augmenter_is_local(walk->paths->augmenter)};
  return fresh_bring(walk->paths, walk->at->str, need, &ask, walk->reason);
}

static Step
arrive(Walk *walk, PathsVerdict *verdict)
{
  PathsPlace *place = walk->place;
  *verdict = bring(walk, walk->need);
  place->there = layers_look(walk->paths, walk->at->str, &place->own);
  place->reached = place->there && (!*walk->rest || S_ISDIR(place->own.st_mode));
  return STEP_END;
}

static Step
step_name(Walk *walk, gsize before, gboolean last, gboolean slash, PathsVerdict *verdict)
{
  PathsPlace *place = walk->place;
  gboolean link_counts = last && !walk->follow && !slash;
  /* Asked once for all that will be needed. */
  *verdict = link_counts ? bring(walk, walk->need) : bring(walk, FRESH_WAY);
  if (*verdict != PATHS_NATIVE)
    return STEP_END;
  place->there = layers_look(walk->paths, walk->at->str, &place->own);
  if (!place->there)
    return STEP_END;
  if (S_ISLNK(place->own.st_mode) && !link_counts)
    return follow_link(walk, before, verdict);
  if (last && !link_counts)
    return arrive(walk, verdict);
  place->reached = last;
  if (last)
    return STEP_END;
  return S_ISDIR(place->own.st_mode) ? STEP_ON : STEP_END;
}

static gboolean
only_slashes(const char *text)
{
  return text[strspn(text, "/")] == '\0';
}

static Step
step(Walk *walk, PathsVerdict *verdict)
{
  char *name = walk->rest + strspn(walk->rest, "/");
  gsize length = strcspn(name, "/");
  *verdict = PATHS_NATIVE;
  if (length == 0) { /* it ends in "/", "." or "..": at a directory that was come by */
    if (!walk->at->len)
      g_string_assign(walk->at, "/");
    return arrive(walk, verdict);
  }
  g_autofree char *former = walk->rest;
  walk->rest = g_strdup(name + length);
  gboolean last = only_slashes(walk->rest), slash = *walk->rest == '/';
  name[length] = '\0';
  if (strcmp(name, ".") == 0)
    return STEP_ON;
  if (strcmp(name, "..") == 0) {
    char *parent = strrchr(walk->at->str, '/');
    g_string_truncate(walk->at, parent ? parent - walk->at->str : 0);
    return STEP_ON;
  }
  gsize before = walk->at->len;
  g_string_append_printf(walk->at, "/%s", name);
  if (length > REPLICA_NAME_MAX || walk->at->len >= REPLICA_PATH_MAX)
    return STEP_END; /* ENAMETOOLONG */
  SpecialKind kind = special_kind(walk->paths, walk->at->str, last);
  return kind == SPECIAL_NOT ? step_name(walk, before, last, slash, verdict)
                             : step_special(walk, kind, before, last, verdict);
}

PathsVerdict
walk_path(Paths *paths, pid_t tid, const char *path, gboolean follow, Freshness need, PathsPlace *place,
          char **reason)
{
  Walk walk = {.paths = paths,
               .tid = tid,
               .at = g_string_new(NULL),
               .rest = g_strdup(path),
               .follow = follow,
               .need = need,
               .place = place,
               .reason = reason};
  PathsVerdict verdict = PATHS_NATIVE;
  while (step(&walk, &verdict) == STEP_ON)
    ;
  place->path = g_string_free(walk.at, FALSE);
  g_free(walk.rest);
  return verdict;
}
