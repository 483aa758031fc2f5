#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>

#include "replica/tree_watch_private.h"

/* fanotify puts what happens in a directory together, so that its queue is short; inotify has a place in it
 * for each name. */
#define FANOTIFY_MS 5000
#define INOTIFY_MS  500
#define AGAIN_US                                                                                             \
  (G_USEC_PER_SEC * G_GINT64_CONSTANT(3600)) /* until what could not be watched is tried again */

gboolean
tree_watch_omits(const TreeWatch *watch, const char *path)
{
  g_autofree char *part = g_strdup(path);
  for (char *slash = part; (slash = strchr(slash, '/')); slash++) {
    *slash = '\0';
    if (tree_rules_omit(watch->rules, part, TRUE, NULL))
      return TRUE;
    *slash = '/';
  }
  return *part && tree_rules_omit(watch->rules, part, TRUE, NULL);
}

void
tree_watch_add(TreeWatch *watch, const char *path)
{
  if (!tree_watch_omits(watch, path))
    tree_dirty_add(watch->dirty, path);
}

static void
set_text(TreeWatch *watch, char *text)
{
  g_free(watch->text);
  watch->text = text;
}

static gboolean
is_whole(const TreeWatch *watch)
{
  const TreeMount *own = watch->mounts && watch->mounts->len ? watch->mounts->pdata[0] : NULL;
  return own && own->whole && strcmp(own->point, watch->root) == 0;
}

static const TreeMount *
find_remote(const TreeWatch *watch)
{
  for (guint i = 0; watch->mounts && i < watch->mounts->len; i++) {
    const TreeMount *mount = watch->mounts->pdata[i];
    if (mount->remote && (i == 0 || !tree_watch_omits(watch, mount->point + strlen(watch->root) +
                                                                 (strcmp(watch->root, "/") != 0))))
      return mount;
  }
  return NULL;
}

static void
begin(TreeWatch *watch)
{
  g_autofree char *no_fanotify = NULL, *no_inotify = NULL;
  watch->mounts = tree_mounts_read(watch->root);
  const TreeMount *remote = find_remote(watch);
  watch->blind = TRUE;
  watch->begun = g_get_monotonic_time();
  if (remote) {
    set_text(watch,
             g_strdup_printf("nobody tells what others change in %s (%s)", remote->point, remote->type));
    return;
  }
  if (watch->ways & TREE_WATCH_FANOTIFY && is_whole(watch))
    watch->fanotify = tree_fanotify_new(watch, &no_fanotify);
  /* inotify knows an inode, but not by which of two ways it was reached. */
  const TreeMount *twice = watch->mounts ? tree_mounts_twice(watch->mounts) : NULL;
  if (twice)
    no_inotify =
        g_strdup_printf("inotify cannot tell the two places apart at which %s is mounted", twice->point);
  else if (!watch->fanotify && watch->ways & TREE_WATCH_INOTIFY)
    watch->inotify = tree_inotify_new(watch, &no_inotify);
  watch->blind = !watch->fanotify && !watch->inotify;
  if (watch->fanotify)
    set_text(watch, g_strdup_printf("fanotify, %u file system%s", watch->mounts->len,
                                    watch->mounts->len == 1 ? "" : "s"));
  else if (!watch->inotify)
    set_text(watch, g_strdup(no_inotify    ? no_inotify
                             : no_fanotify ? no_fanotify
                                           : "this system has neither fanotify nor inotify"));
}

static void
end(TreeWatch *watch)
{
  g_clear_pointer(&watch->fanotify, tree_fanotify_free);
  g_clear_pointer(&watch->inotify, tree_inotify_free);
  g_clear_pointer(&watch->mounts, g_ptr_array_unref);
}

/* From here on, without what was before. */
static void
begin_again(TreeWatch *watch, const char *why)
{
  end(watch);
  begin(watch);
  tree_dirty_lose(watch->dirty, why);
}

TreeWatch *
tree_watch_new(const char *root, const TreeRules *rules, TreeWatchWays ways, TreeDirty *dirty)
{
  TreeWatch *watch = g_new0(TreeWatch, 1);
  watch->root = g_strdup(root);
  watch->rules = rules;
  watch->ways = ways;
  watch->dirty = dirty;
  watch->mountinfo = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
  begin_again(watch, "what changed before it was watched is not known");
  return watch;
}

void
tree_watch_free(TreeWatch *watch)
{
  if (!watch)
    return;
  end(watch);
  io_close(&watch->mountinfo);
  g_free(watch->text);
  g_free(watch->root);
  g_free(watch);
}

int
tree_watch_fd(const TreeWatch *watch)
{
  return watch->fanotify  ? tree_fanotify_fd(watch->fanotify)
         : watch->inotify ? tree_inotify_fd(watch->inotify)
                          : -1;
}

guint
tree_watch_patience_ms(const TreeWatch *watch)
{
  return watch->fanotify ? FANOTIFY_MS : INOTIFY_MS;
}

/* Mounts are told by poll(2) of the list of them (proc_pid_mountinfo(5)). */
static gboolean
mounts_changed(TreeWatch *watch)
{
  struct pollfd wait = {.fd = watch->mountinfo, .events = POLLPRI};
  if (watch->mountinfo < 0 || poll(&wait, 1, 0) != 1 || !(wait.revents & (POLLPRI | POLLERR)))
    return FALSE;
  g_autoptr(GPtrArray) now = tree_mounts_read(watch->root);
  return !now || !watch->mounts || !tree_mounts_equal(now, watch->mounts);
}

void
tree_watch_take(TreeWatch *watch)
{
  const char *why;
  if (mounts_changed(watch))
    begin_again(watch, "file systems were mounted or unmounted");
  if (watch->fanotify)
    tree_fanotify_take(watch->fanotify);
  else if (watch->inotify && !tree_inotify_take(watch->inotify, &why))
    begin_again(watch, why);
  if (watch->blind && watch->ways && g_get_monotonic_time() - watch->begun > AGAIN_US)
    begin_again(watch, "it could not be watched before");
  if (watch->blind)
    tree_dirty_lose(watch->dirty, watch->text);
}

gboolean
tree_watch_tells(const TreeWatch *watch)
{
  return !watch->blind;
}

const char *
tree_watch_text(TreeWatch *watch)
{
  if (watch->inotify)
    set_text(watch, g_strdup_printf("inotify, %u directories", tree_inotify_count(watch->inotify)));
  return watch->text;
}
