#include "replica/generation_apply.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "replica/generation_content.h"
#include "replica/generation_trash.h"
#include "replica/generation_upper.h"
#include "replica/path.h"
#include "replica/public_base.h"

struct GenerationApply {
  GenerationUpper *upper;
  GenerationContent *content;
  guint64 bytes;
  int base;
};

static int
make_places(GenerationUpper *upper)
{
  static const char *const places[] = {GENERATION_TREE, GENERATION_HOLD};
  for (guint i = 0; i < G_N_ELEMENTS(places); i++) {
    /* With a tree below, looking into the place gives this layer its own part, which looks the same. */
    g_autofree char *inside = g_strconcat(places[i], "/.", NULL);
    const GenerationDirectory *directory;
    const char *name;
    GenerationEntry entry;
    int failure = generation_upper_look(upper, inside, TRUE, &directory, &name, &entry);
    if (failure == ENOENT && mkdirat(upper->base, places[i], 0755) < 0)
      failure = errno;
    else if (failure == ENOENT)
      failure = 0;
    if (failure)
      return failure;
  }
  return 0;
}

GenerationApply *
generation_apply_new(GenerationStack *stack, guint64 nodes, GError **error)
{
  g_autoptr(GenerationApply) apply = g_new0(GenerationApply, 1);
  apply->upper = generation_upper_new(stack);
  apply->upper->nodes = nodes;
  apply->base = -1;
  errno = make_places(apply->upper);
  if (errno) {
    doppel_error_errno(error, "cannot begin a layer of the clone's tree");
    return NULL;
  }
  return g_steal_pointer(&apply);
}

void
generation_apply_set_base(GenerationApply *apply, int base)
{
  apply->base = base;
}

void
generation_apply_free(GenerationApply *apply)
{
  if (!apply)
    return;
  generation_content_free(apply->content);
  generation_upper_free(apply->upper);
  g_free(apply);
}

static GenerationOutcome
outcome(int failure, const char *what, const char *path, GError **error)
{
  if (!failure)
    return GENERATION_DONE;
  errno = failure;
  if (failure == ENOENT || failure == ENOTDIR || failure == EISDIR)
    doppel_error_set(error, DOPPEL_ERROR_MISMATCH,
                     "cannot %s %s: the clone's tree is not as the device believes", what, path);
  else
    doppel_error_errno(error, "cannot %s %s in the clone", what, path);
  return GENERATION_REFUSED;
}

static char *
in_tree(const char *path)
{
  return replica_path_join(GENERATION_TREE, path);
}

static GenerationOutcome
lift_or_drop(GenerationApply *apply, const GenerationStep *step, GError **error)
{
  g_autofree char *path = in_tree(step->path);
  g_autofree char *hold = g_strdup_printf(GENERATION_HOLD "/%" G_GUINT64_FORMAT, step->hold);
  gboolean lift = step->kind == GENERATION_LIFT;
  int failure = generation_upper_move(apply->upper, lift ? path : hold, lift ? hold : path);
  return outcome(failure, lift ? "lift" : "drop", step->path, error);
}

static GenerationOutcome
place(GenerationApply *apply, const GenerationStep *step, GError **error)
{
  g_autofree char *path = in_tree(step->path);
  int failure = step->facts.type == REPLICA_DIRECTORY
                    ? generation_upper_directory(apply->upper, path, &step->facts)
                    : generation_upper_node(apply->upper, path, &step->facts);
  return outcome(failure, "make", step->path, error);
}

static GenerationOutcome
remove_or_link(GenerationApply *apply, const GenerationStep *step, GError **error)
{
  g_autofree char *path = in_tree(step->path);
  if (step->kind == GENERATION_REMOVE)
    return outcome(generation_upper_remove(apply->upper, path), "remove", step->path, error);
  g_autofree char *to = in_tree(step->to);
  return outcome(generation_upper_link(apply->upper, path, to), "link", step->path, error);
}

static GenerationOutcome
open_content(GenerationApply *apply, const GenerationStep *step, GError **error)
{
  apply->content = generation_content_new(apply->upper->base, GENERATION_CONTENT, step, apply->upper->stack,
                                          GENERATION_TREE, error);
  return apply->content ? GENERATION_DONE : GENERATION_REFUSED;
}

static GenerationOutcome
close_content(GenerationApply *apply, const GenerationStep *step, GError **error)
{
  g_autoptr(GenerationContent) content = g_steal_pointer(&apply->content);
  if (!generation_content_right(content, step->hash)) {
    unlinkat(apply->upper->base, GENERATION_CONTENT, 0);
    return GENERATION_MISMATCH;
  }
  g_autofree char *path = in_tree(generation_content_path(content));
  const ReplicaFacts *facts = generation_content_facts(content);
  apply->bytes += facts->size;
  return outcome(generation_upper_content(apply->upper, path, facts), "put in place",
                 generation_content_path(content), error);
}

static GenerationOutcome
whole_content(GenerationApply *apply, const GenerationStep *step, GError **error)
{
  if (open_content(apply, step, error) != GENERATION_DONE ||
      (step->segments && !generation_content_add(apply->content, step, error)))
    return GENERATION_REFUSED;
  return close_content(apply, step, error);
}

static GenerationOutcome
take_content(GenerationApply *apply, const GenerationStep *step, GError **error)
{
  gboolean right;
  int failure = public_base_take(apply->base, step, apply->upper->base, GENERATION_CONTENT, &right);
  if (!failure && !right) {
    unlinkat(apply->upper->base, GENERATION_CONTENT, 0);
    return GENERATION_MISMATCH;
  }
  g_autofree char *path = in_tree(step->path);
  if (!failure)
    failure = generation_upper_content(apply->upper, path, &step->facts);
  apply->bytes += failure ? 0 : step->facts.size;
  return outcome(failure, "put in place", step->path, error);
}

/* What still waits was lifted by a device that lost its link, and whose user then removed it. */
static int
clear_hold(GenerationApply *apply)
{
  GenerationUpper *upper = apply->upper;
  g_auto(GenerationDirectory) hold = {0};
  g_autoptr(GPtrArray) names = NULL;
  int failure = generation_stack_open(upper->stack, GENERATION_HOLD, &hold);
  if (!failure)
    failure = generation_directory_list(&hold, FALSE, &names);
  for (guint i = 0; !failure && i < names->len; i++) {
    g_autofree char *path = replica_path_join(GENERATION_HOLD, names->pdata[i]);
    failure = generation_upper_remove(upper, path);
  }
  return failure;
}

static GenerationOutcome
commit(GenerationApply *apply, const GenerationStep *step, GError **error)
{
  int failure = clear_hold(apply);
  if (failure)
    return outcome(failure, "clear", GENERATION_HOLD, error);
  if (apply->upper->nodes == step->nodes)
    return GENERATION_COMPLETE;
  doppel_error_set(error, DOPPEL_ERROR_MISMATCH,
                   "the clone's tree has %" G_GUINT64_FORMAT
                   " files and directories, the device's %" G_GUINT64_FORMAT,
                   apply->upper->nodes, step->nodes);
  return GENERATION_REFUSED;
}

GenerationOutcome
generation_apply_step(GenerationApply *apply, const GenerationStep *step, GError **error)
{
  gboolean continues = step->kind == GENERATION_SEGMENTS || step->kind == GENERATION_CLOSE;
  if (continues && !apply->content) {
    doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the device sent a piece of a file that it did not open");
    return GENERATION_REFUSED;
  }
  if (!continues) /* a device that went on after a cut leaves an open content as it is */
    g_clear_pointer(&apply->content, generation_content_free);
  switch (step->kind) {
  case GENERATION_LIFT:
  case GENERATION_DROP:
    return lift_or_drop(apply, step, error);
  case GENERATION_REMOVE:
  case GENERATION_LINK:
    return remove_or_link(apply, step, error);
  case GENERATION_PLACE:
    return place(apply, step, error);
  case GENERATION_OPEN:
    return open_content(apply, step, error);
  case GENERATION_SEGMENTS:
    return generation_content_add(apply->content, step, error) ? GENERATION_DONE : GENERATION_REFUSED;
  case GENERATION_CLOSE:
    return close_content(apply, step, error);
  case GENERATION_WHOLE:
    return whole_content(apply, step, error);
  case GENERATION_TAKE:
    return take_content(apply, step, error);
  case GENERATION_COMMIT:
    return commit(apply, step, error);
  }
  doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the device sent an unknown step");
  return GENERATION_REFUSED;
}

gboolean
generation_apply_in_content(const GenerationApply *apply)
{
  return apply->content != NULL;
}

int
generation_apply_clean(int layer, gboolean whole)
{
  static const char *const leftovers[] = {GENERATION_HOLD, GENERATION_CONTENT, GENERATION_FRESH};
  int failure = 0;
  for (guint i = !whole; !failure && i < G_N_ELEMENTS(leftovers); i++)
    failure = generation_trash_remove(layer, leftovers[i]);
  return failure ? failure : generation_trash_sweep(layer);
}

guint64
generation_apply_nodes(const GenerationApply *apply)
{
  return apply->upper->nodes;
}

guint64
generation_apply_bytes(const GenerationApply *apply)
{
  return apply->bytes;
}

GenerationLosses *
generation_apply_losses(GenerationApply *apply)
{
  return &apply->upper->losses;
}
