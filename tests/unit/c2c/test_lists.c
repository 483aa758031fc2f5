/* Lists of what a node has are answered in pages: everything that stays is in them once, also where other
 * things come, go and are called otherwise between two pages. */
#include <signal.h>
#include <string.h>

#include "c2c/node_store_private.h"
#include "identity/address.h"
#include "node_world.h"
#include "wire/c2c_control.pb-c.h"

#define MANY 3000u

typedef struct {
  WorldClone *alice;
  NodeStore *store; /* the node's, which another process has open, too */
  GHashTable *told; /* fingerprints, or what else an item is known by */
  guint pages;
} World;

static World
world_new(void)
{
  g_autoptr(GError) error = NULL;
  node_world_begin();
  World world = {.alice = clone_bound(100, "alice")};
  world.store = node_store_open(world.alice->place, &error);
  g_assert_no_error(error);
  world.told = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
  return world;
}

static void
world_clear(World *world)
{
  node_store_close(world->store);
  clone_free(world->alice);
  g_hash_table_unref(world->told);
  node_world_end();
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(World, world_clear)

/* Of a thousand kinds of first bytes, so that numbers say nothing about the order. */
static IdentityPublic
origin_of(guint number)
{
  IdentityPublic origin;
  memset(origin.bytes, 1, sizeof origin.bytes);
  origin.bytes[0] = (guint8)(number * 37);
  origin.bytes[1] = (guint8)(number * 37 >> 8);
  origin.bytes[2] = (guint8)number;
  return origin;
}

/* As long as a name can be. */
static char *
name_of(guint number)
{
  g_autofree char *filler = g_strnfill(RECORD_NAME_MAX - 5, 'n');
  return g_strdup_printf("%s%05u", filler, number);
}

static void
add_contact(World *world, guint number, const char *name)
{
  g_autoptr(GError) error = NULL;
  const IdentityPublic origin = origin_of(number);
  g_assert_true(node_store_add_contact(world->store, name, &origin, 1, &error));
  g_assert_no_error(error);
}

static void
add_contacts(World *world)
{
  g_assert_true(node_store_begin(world->store, NULL));
  for (guint i = 0; i < MANY; i++) {
    g_autofree char *name = name_of(i);
    add_contact(world, i, name);
  }
  g_assert_true(node_store_end(world->store, TRUE, NULL));
}

static ProtobufCMessage *
ask(World *world, const char *verb, const ProtobufCMessage *body,
    const ProtobufCMessageDescriptor *descriptor)
{
  g_autoptr(GBytes) answer = NULL;
  g_assert_cmpint(clone_ask(world->alice, verb, body, &answer), ==, 0);
  ProtobufCMessage *message =
      protobuf_c_message_unpack(descriptor, NULL, g_bytes_get_size(answer), g_bytes_get_data(answer, NULL));
  g_assert_nonnull(message);
  world->pages++;
  return message;
}

static void
tell(World *world, char *known_by)
{
  g_assert_true(g_hash_table_add(world->told, known_by));
}

static char *
known(guint number)
{
  const IdentityPublic origin = origin_of(number);
  return identity_public_to_text(&origin);
}

static void
assert_told(World *world, guint number)
{
  g_autofree char *origin = known(number);
  g_assert_true(g_hash_table_contains(world->told, origin));
}

/* After each page somebody goes, somebody comes, and somebody gets a name from the list's other end. */
static void
change_contacts(World *world)
{
  guint at = world->pages;
  g_autofree char *gone = name_of(at), *renamed = g_strdup_printf("%c%u", at % 2 ? 'a' : 'z', at),
                  *added = g_strdup_printf("new%u", at);
  g_assert_true(node_store_forget_contact(world->store, gone, NULL));
  add_contact(world, 1000 + at, renamed);
  add_contact(world, MANY + at, added);
}

static void
test_contacts(void)
{
  g_auto(World) world = world_new();
  add_contacts(&world);
  Doppel__Wire__ControlContactsPage page = DOPPEL__WIRE__CONTROL_CONTACTS_PAGE__INIT;
  IdentityPublic last;
  for (gboolean more = TRUE; more;) {
    Doppel__Wire__ControlContacts *contacts = (Doppel__Wire__ControlContacts *)ask(
        &world, "contacts", &page.base, &doppel__wire__control_contacts__descriptor);
    more = contacts->more;
    for (gsize i = 0; i < contacts->n_contacts; i++) {
      g_assert_cmpuint(contacts->contacts[i]->origin.len, ==, sizeof last.bytes);
      memcpy(last.bytes, contacts->contacts[i]->origin.data, sizeof last.bytes);
      tell(&world, identity_public_to_text(&last));
    }
    page.after = (ProtobufCBinaryData){sizeof last.bytes, last.bytes};
    doppel__wire__control_contacts__free_unpacked(contacts, NULL);
    change_contacts(&world);
  }
  g_assert_cmpuint(world.pages, >, 2);
  for (guint i = world.pages + 1; i < MANY; i++)
    assert_told(&world, i);
}

/* All that is said of the subjects: of two services of each user, a group and everybody, with limits as long
 * as they can be. */
static guint
add_permissions(World *world)
{
  static const char *const services[] = {"run", "send"};
  g_autoptr(GString) limits = g_string_new("cpu=1");
  const IdentityPublic *none = NULL;
  guint count = 0;
  while (limits->len + strlen(",cpu=1") <= NODE_LIMITS_MAX)
    g_string_append(limits, ",cpu=1");
  g_assert_true(node_store_begin(world->store, NULL));
  g_assert_true(node_store_add_group(world->store, "team", NULL));
  for (guint i = 0; i < MANY / 2 + 2; i++)
    for (guint k = 0; k < G_N_ELEMENTS(services); k++) {
      const IdentityPublic origin = origin_of(i);
      const NodeSubject subject = {i < MANY / 2 ? &origin : none, i == MANY / 2 ? "team" : NULL};
      g_autoptr(GError) error = NULL;
      g_assert_true(node_store_permit(world->store, &subject, services[k], TRUE, limits->str, 1, &error));
      g_assert_no_error(error);
      count++;
    }
  g_assert_true(node_store_end(world->store, TRUE, NULL));
  return count;
}

static void
test_permissions(void)
{
  g_auto(World) world = world_new();
  guint count = add_permissions(&world);
  Doppel__Wire__ControlPermissionsPage page = DOPPEL__WIRE__CONTROL_PERMISSIONS_PAGE__INIT;
  g_autoptr(GPtrArray) answers = g_ptr_array_new();
  for (gboolean more = TRUE; more;) {
    Doppel__Wire__ControlPermissions *some = (Doppel__Wire__ControlPermissions *)ask(
        &world, "permissions", &page.base, &doppel__wire__control_permissions__descriptor);
    g_ptr_array_add(answers, some);
    more = some->more;
    g_assert_cmpuint(some->n_permissions, >, 0);
    for (gsize i = 0; i < some->n_permissions; i++)
      tell(&world, g_strconcat(some->permissions[i]->subject, " ", some->permissions[i]->service, NULL));
    const Doppel__Wire__ControlPermission *last = some->permissions[some->n_permissions - 1];
    page.origin = last->origin;
    page.group = last->group;
    page.service = last->service;
    /* Who is called otherwise from now on is not told again. */
    guint from = world.pages * 10;
    for (guint i = from; i < from + 10; i++) {
      const IdentityPublic origin = origin_of(i);
      const NodeSubject subject = {.origin = &origin};
      g_assert_true(node_store_permit(world.store, &subject, "run", FALSE, "", 2, NULL));
    }
  }
  g_assert_cmpuint(g_hash_table_size(world.told), ==, count);
  g_assert_true(g_hash_table_contains(world.told, "* send"));
  g_assert_true(g_hash_table_contains(world.told, "@team run"));
  for (guint i = 0; i < answers->len; i++)
    doppel__wire__control_permissions__free_unpacked(answers->pdata[i], NULL);
}

/* Somebody whose record has as many addresses as one can have, each as long as one can be. */
static void
register_somebody(guint number)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(WorldUser) user = world_user_new(1000 + 10 * number, "somebody");
  g_autofree char *host = g_strnfill(IDENTITY_ADDRESS_MAX - strlen(":4280"), 'h');
  g_autofree char *address = g_strconcat(host, ":4280", NULL);
  const char *addresses[RECORD_ADDRESSES_MAX + 1] = {NULL};
  for (guint i = 0; i < RECORD_ADDRESSES_MAX; i++)
    addresses[i] = address;
  user->binding.serial = 1;
  g_autoptr(GBytes) bound = record_sign_binding(user->key, &user->binding);
  g_autoptr(GBytes) whereabouts =
      record_sign_whereabouts(user->clone, addresses, 1, WORLD_TIME, WORLD_TIME + 100);
  g_autoptr(Record) record = record_assemble(user->root, NULL, 0, bound, user->hosting, whereabouts, &error);
  g_assert_no_error(error);
  g_autofree char *origin = identity_public_to_text(&record->origin);
  g_autofree char *name = g_strconcat(origin, ".record", NULL);
  g_autofree char *path = g_build_filename(fake_directory, name, NULL);
  g_assert_true(g_file_set_contents(path, g_bytes_get_data(record->bytes, NULL),
                                    g_bytes_get_size(record->bytes), NULL));
}

/* Of long records fewer fit in a page than are asked for. */
static void
test_records(void)
{
  g_auto(World) world = world_new();
  Doppel__Wire__ControlList page = DOPPEL__WIRE__CONTROL_LIST__INIT;
  IdentityPublic last;
  page.count = 64;
  for (guint i = 0; i < page.count - 1; i++)
    register_somebody(i);
  for (gboolean more = TRUE; more;) {
    Doppel__Wire__ControlListed *listed = (Doppel__Wire__ControlListed *)ask(
        &world, "list", &page.base, &doppel__wire__control_listed__descriptor);
    more = listed->more;
    g_assert_cmpuint(listed->n_users, >, 0);
    for (gsize i = 0; i < listed->n_users; i++) {
      const ProtobufCBinaryData *bytes = &listed->users[i]->record;
      g_autoptr(Record) record = record_decode(bytes->data, bytes->len, NULL, NULL);
      last = record->origin;
      tell(&world, identity_public_to_text(&last));
    }
    page.after = (ProtobufCBinaryData){sizeof last.bytes, last.bytes};
    doppel__wire__control_listed__free_unpacked(listed, NULL);
  }
  g_assert_cmpuint(world.pages, >, 1);
  g_assert_cmpuint(g_hash_table_size(world.told), ==, page.count); /* alice, too */
}

int
main(int argc, char **argv)
{
  signal(SIGPIPE, SIG_IGN);
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/lists/contacts", test_contacts);
  g_test_add_func("/lists/permissions", test_permissions);
  g_test_add_func("/lists/records", test_records);
  return g_test_run();
}
