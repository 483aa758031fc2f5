/* Who introduces themselves to a node while its directory is asked about somebody else, or about them. The
 * linker gives the node this file's directory and keys of links. */
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/error.h"
#include "c2c/node_private.h"
#include "record_world.h"

typedef struct {
  NodeFound found;
  void *data;
} Question;

static Question questions[2];
static guint asked;
static IdentityKey *keys[2]; /* of the clone that was lost, and of the one that is there now */
static NodeLink *links[2];

const IdentityPublic *__wrap_link_peer(const Link *link);
void __wrap_node_directory_find_origin(NodeDirectory *directory, const IdentityPublic *origin, gboolean fresh,
                                       NodeFound found, void *data);
gboolean __wrap_node_directory_is_busy(NodeDirectory *directory);
void __wrap_node_directory_learn(NodeDirectory *directory, Record *record);
GPtrArray *__wrap_node_directory_heads(NodeDirectory *directory);
void __wrap_node_directory_seen(NodeDirectory *directory, const ProtobufCBinaryData *heads, gsize count);
void __wrap_node_groups_peer(Node *node, const IdentityPublic *origin);

const IdentityPublic *
__wrap_link_peer(const Link *link)
{
  return identity_key_public(keys[link == mux_link(links[1]->mux)]);
}

void
__wrap_node_directory_find_origin(NodeDirectory *directory, const IdentityPublic *origin, gboolean fresh,
                                  NodeFound found, void *data)
{
  g_assert_cmpuint(asked, <, G_N_ELEMENTS(questions));
  questions[asked++] = (Question){found, data};
}

gboolean
__wrap_node_directory_is_busy(NodeDirectory *directory)
{
  return FALSE;
}

void
__wrap_node_directory_learn(NodeDirectory *directory, Record *record)
{
}

GPtrArray *
__wrap_node_directory_heads(NodeDirectory *directory)
{
  return g_ptr_array_new();
}

void
__wrap_node_directory_seen(NodeDirectory *directory, const ProtobufCBinaryData *heads, gsize count)
{
}

void
__wrap_node_groups_peer(Node *node, const IdentityPublic *origin)
{
}

/* The user's record with their first clone, or after it was lost with the second. */
static Record *
make_record(guint clone)
{
  g_autoptr(WorldUser) user = world_user_new(10, "alice");
  user->binding.clone_key = *identity_key_public(keys[clone]);
  identity_key_free(user->clone);
  user->clone = world_key(100 + clone);
  g_bytes_unref(user->hosting);
  user->hosting =
      record_sign_hosting(user->provider, user->binding.clone, &user->binding.clone_key, WORLD_TIME);
  return world_record(user, 1 + clone, 1, NULL);
}

static NodeLink *
make_link(Node *node, guint64 id)
{
  static const MuxCallbacks none;
  int ends[2];
  NodeLink *link = g_new0(NodeLink, 1);
  g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), ==, 0);
  link->node = node;
  link->id = id;
  link->mux = mux_new(link_new_local(ends[0]), FALSE, &none, link);
  link->source = mux_source_new(link->mux, NULL, NULL);
  link->held = g_ptr_array_new();
  g_ptr_array_add(node->links, link);
  return link;
}

static void
introduce(NodeLink *link, Record *record)
{
  g_autoptr(GError) error = NULL;
  Doppel__Wire__MuxIntroduce message = DOPPEL__WIRE__MUX_INTRODUCE__INIT;
  message.record.data = (guint8 *)g_bytes_get_data(record->bytes, &message.record.len);
  g_assert_true(node_introduced(link, &message, &error));
  g_assert_no_error(error);
  g_assert_nonnull(link->claim);
}

/* Both clones of a user come while no directory answers: whoever has the key of the one that was lost is
 * nobody, also where the node heard of the other one only after they had come. */
static void
test_lost_clone(void)
{
  g_autoptr(IdentityKey) own = world_key(1);
  g_autoptr(GError) gone = g_error_new_literal(DOPPEL_ERROR, DOPPEL_ERROR_GONE, "no directory answers");
  const NodeConfig config = {.key = own};
  clock_shift_unix_time(WORLD_TIME + 10 - clock_unix_time());
  for (guint i = 0; i < G_N_ELEMENTS(keys); i++)
    keys[i] = world_key(100 + i);
  g_autoptr(Record) lost = make_record(0), present = make_record(1);
  g_assert_true(lost && present && record_supersedes(present, lost));
  Node node = {.config = &config, .own = record_ref(present), .links = g_ptr_array_new()};
  for (guint i = 0; i < G_N_ELEMENTS(links); i++)
    links[i] = make_link(&node, 1 + i);
  introduce(links[0], lost);
  introduce(links[1], present);
  g_assert_cmpuint(asked, ==, 2);
  questions[1].found(NULL, NULL, gone, questions[1].data);
  g_assert_true(links[1]->proved && !links[1]->ended);
  questions[0].found(NULL, NULL, gone, questions[0].data);
  g_assert_true(links[0]->ended && !links[0]->proved);
  g_assert_true(links[1]->peer->current == links[1]);
  node_peers_clear(&node);
  record_unref(node.own);
  for (guint i = 0; i < G_N_ELEMENTS(keys); i++)
    identity_key_free(keys[i]);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/node-introduce/lost-clone", test_lost_clone);
  return g_test_run();
}
