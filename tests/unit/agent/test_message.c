/* What an agent is told, and tells: it arrives as it was, and nonsense does not. */
#include <string.h>

#include "agent/agent_message.h"
#include "base/error.h"
#include "replicator/sync.h"

static AgentMessage *
through(const AgentMessage *message)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GByteArray) bytes = agent_message_pack(message);
  gsize length;
  g_assert_true(agent_message_length(bytes->data, &length, &error));
  g_assert_cmpuint(length, ==, bytes->len - AGENT_LENGTH);
  AgentMessage *taken = agent_message_unpack(bytes->data + AGENT_LENGTH, length, &error);
  g_assert_no_error(error);
  return taken;
}

static void
assert_refused(const AgentMessage *message)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GByteArray) bytes = agent_message_pack(message);
  g_assert_null(agent_message_unpack(bytes->data + AGENT_LENGTH, bytes->len - AGENT_LENGTH, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
}

static ProtobufCBinaryData
data(const char *text)
{
  return (ProtobufCBinaryData){strlen(text), (guint8 *)text};
}

/* The root is a directory like any other, though its path has no bytes. */
static void
test_scope(void)
{
  Doppel__Agent__Scope scope = DOPPEL__AGENT__SCOPE__INIT;
  ProtobufCBinaryData directories[] = {data(""), data("a/b"), data("not \xff utf-8")};
  guint8 watch[REPLICATOR_WATCH] = {1, 2, 3};
  scope.directory = directories;
  scope.n_directory = G_N_ELEMENTS(directories);
  scope.watch = (ProtobufCBinaryData){sizeof watch, watch};
  g_autoptr(AgentMessage) taken = through(AGENT_MESSAGE(SCOPE, scope, &scope));
  g_assert_cmpuint(taken->scope->n_directory, ==, 3);
  for (guint i = 0; i < 3; i++) {
    g_autofree char *path = agent_message_path(&taken->scope->directory[i]);
    g_assert_nonnull(path);
    g_assert_cmpmem(path, strlen(path), directories[i].data, directories[i].len);
  }
  scope.watch.len = 3;
  assert_refused(AGENT_MESSAGE(SCOPE, scope, &scope));
}

static void
test_paths(void)
{
  static const char *const bad[] = {"/a", "a/../b", "..", ".", "a//b", "a/"};
  for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
    Doppel__Agent__Scope scope = DOPPEL__AGENT__SCOPE__INIT;
    Doppel__Agent__Done done = DOPPEL__AGENT__DONE__INIT;
    ProtobufCBinaryData path = data(bad[i]);
    scope.directory = done.later = &path;
    scope.n_directory = done.n_later = 1;
    assert_refused(AGENT_MESSAGE(SCOPE, scope, &scope));
    assert_refused(AGENT_MESSAGE(DONE, done, &done));
  }
  Doppel__Agent__Take take = DOPPEL__AGENT__TAKE__INIT;
  take.clone = (char *)"far";
  assert_refused(AGENT_MESSAGE(TAKE, take, &take));
  take.root = data("relative");
  assert_refused(AGENT_MESSAGE(TAKE, take, &take));
  take.root = data("/");
  g_autoptr(AgentMessage) taken = through(AGENT_MESSAGE(TAKE, take, &take));
  g_assert_cmpstr(taken->take->clone, ==, "far");
}

static void
test_nonsense(void)
{
  Doppel__Agent__Progress progress = DOPPEL__AGENT__PROGRESS__INIT;
  const guint8 most[AGENT_LENGTH] = {0xff, 0xff, 0xff, 0xff};
  gsize length;
  g_autoptr(GError) error = NULL, empty = NULL;
  progress.phase = 77;
  assert_refused(AGENT_MESSAGE(PROGRESS, progress, &progress));
  g_assert_false(agent_message_length(most, &length, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
  g_assert_null(agent_message_unpack(NULL, 0, &empty));
  g_assert_error(empty, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/agent/scope", test_scope);
  g_test_add_func("/agent/paths", test_paths);
  g_test_add_func("/agent/nonsense", test_nonsense);
  return g_test_run();
}
