#include "sync_rig.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "rig.h"

SyncRig *
sync_rig_new(guint32 seed, const char *size)
{
  SyncRig *rig = g_new0(SyncRig, 1);
  rig->store = store_rig_new(seed, size);
  rig->replica = g_path_get_dirname(rig->store->path);
  rig->knowledge = rig_path(rig->store->base, "knowledge");
  rig->rules = tree_rules_new();
  return rig;
}

void
sync_rig_free(SyncRig *rig)
{
  store_rig_free(rig->store);
  tree_rules_free(rig->rules);
  g_free(rig->public_base);
  g_free(rig->replica);
  g_free(rig->knowledge);
  g_free(rig);
}

void
sync_rig_copy(SyncRig *rig)
{
  g_autofree char *copy = store_rig_copy(rig->store, rig->generation + 1);
  rig_run("rm", "-rf", copy, NULL);
  device_copy(rig->store->device, copy);
}

void
sync_rig_change(SyncRig *rig, guint changes)
{
  g_ptr_array_unref(device_change(rig->store->device, changes, 1));
  sync_rig_copy(rig);
}

pid_t
sync_rig_receiver(SyncRig *rig, const int ends[2])
{
  pid_t child = fork();
  g_assert_cmpint(child, >=, 0);
  if (child > 0)
    return child;
  close(ends[0]);
  const ReplicatorPlace place = {
      .directory = rig->replica, .name = "test", .public_base = rig->public_base, .control_fd = -1};
  Link *link = link_new_local(ends[1]);
  int status = replicator_receive(link, &place);
  link_free(link);
  _exit(status);
}

int
sync_rig_wait(pid_t child)
{
  int status;
  g_assert_cmpint(waitpid(child, &status, 0), ==, child);
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

gboolean
sync_rig_send(SyncRig *rig, int fd, ReplicatorResult *result, GError **error)
{
  g_autoptr(Link) link = link_new_local(fd);
  g_autoptr(CloneIndex) index = clone_index_open(rig->knowledge, error);
  const ReplicatorOptions options = {.root = rig->store->device->path, .rules = rig->rules};
  *result = (ReplicatorResult){0};
  return index && replicator_sync(link, index, &options, result, error);
}

static void
make_pair(int ends[2])
{
  g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), ==, 0);
}

gboolean
sync_rig_try(SyncRig *rig, ReplicatorResult *result, GError **error)
{
  int ends[2];
  make_pair(ends);
  pid_t receiver = sync_rig_receiver(rig, ends);
  close(ends[1]);
  gboolean good = sync_rig_send(rig, ends[0], result, error);
  int status = sync_rig_wait(receiver);
  if (good)
    g_assert_cmpint(status, ==, 0);
  return good;
}

void
sync_rig_run(SyncRig *rig, ReplicatorResult *result)
{
  g_autoptr(GError) error = NULL;
  sync_rig_try(rig, result, &error);
  g_assert_no_error(error);
  rig->generation = sync_rig_newest(rig);
  g_assert_cmpuint(rig->generation, ==, result->generation);
}

guint64
sync_rig_newest(SyncRig *rig)
{
  g_auto(Fd) directory = open(rig->store->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  g_autoptr(GenerationHead) head = directory < 0 ? NULL : generation_head_read(directory, NULL);
  const GenerationRecord *last = head ? generation_head_last(head) : NULL;
  if (last)
    store_rig_assert_same(rig->store, last->number);
  return last ? last->number : 0;
}

void
sync_rig_ask(SyncRig *rig, void (*ask)(SyncRig *rig, Link *link))
{
  int ends[2];
  make_pair(ends);
  pid_t receiver = sync_rig_receiver(rig, ends);
  close(ends[1]);
  Link *link = link_new_local(ends[0]);
  ask(rig, link);
  link_free(link);
  sync_rig_wait(receiver);
}
