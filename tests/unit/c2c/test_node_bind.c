/* What a device hands to its clone's node, and what it takes for an answer. */
#include "base/error.h"
#include "c2c/node_bind.h"
#include "record_world.h"

static GPtrArray *
places_of(const WorldUser *user, gboolean home)
{
  GPtrArray *places = g_ptr_array_new_with_free_func((GDestroyNotify)directory_place_free);
  g_autofree char *key = identity_public_to_text(&user->binding.directory);
  g_autofree char *other = identity_public_to_text(&user->binding.provider);
  g_autofree char *first = g_strconcat("home=192.0.2.1:3678=", key, NULL);
  g_autofree char *second = g_strconcat("[2001:db8::1]:9=", other, NULL);
  if (home)
    g_ptr_array_add(places, directory_place_parse(first, NULL));
  g_ptr_array_add(places, directory_place_parse(second, NULL));
  return places;
}

static NodeBind *
decode(GBytes *bytes, GError **error)
{
  gsize length;
  const void *data = g_bytes_get_data(bytes, &length);
  return node_bind_decode(data, length, error);
}

static void
test_bind(void)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(WorldUser) user = world_user_new(100, "alice");
  g_autoptr(Record) record = world_record(user, 1, 0, NULL);
  g_autoptr(GPtrArray) places = places_of(user, TRUE);
  g_autoptr(GBytes) bytes = node_bind_encode(record, places);
  g_autoptr(NodeBind) bind = decode(bytes, &error);
  g_assert_no_error(error);
  g_assert_true(g_bytes_equal(bind->record->bytes, record->bytes));
  g_assert_cmpuint(bind->places->len, ==, 2);
  const DirectoryPlace *first = bind->places->pdata[0], *second = bind->places->pdata[1];
  g_assert_cmpstr(first->name, ==, "home");
  g_assert_cmpstr(first->address, ==, "192.0.2.1:3678");
  g_assert_true(identity_public_equal(&first->key, &user->binding.directory));
  g_assert_null(second->name);
  g_assert_cmpstr(second->address, ==, "[2001:db8::1]:9");
}

/* A clone that does not know where its directory is could not register. */
static void
test_homeless(void)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(WorldUser) user = world_user_new(100, "alice");
  g_autoptr(Record) record = world_record(user, 1, 0, NULL);
  g_autoptr(GPtrArray) places = places_of(user, FALSE);
  g_autoptr(GBytes) bytes = node_bind_encode(record, places);
  g_assert_null(decode(bytes, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
  g_clear_error(&error);
  g_ptr_array_set_size(places, 0);
  g_autoptr(GBytes) none = node_bind_encode(record, places);
  g_assert_null(decode(none, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
}

static NodeBound *
answer(const NodeBound *bound, const Record *told, GError **error)
{
  g_autoptr(GBytes) bytes = node_bound_encode(bound);
  gsize length;
  const void *data = g_bytes_get_data(bytes, &length);
  return node_bound_decode(data, length, told, error);
}

static void
test_bound(void)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(WorldUser) user = world_user_new(100, "alice");
  g_autoptr(Record) told = world_record(user, 1, 0, NULL), registered = world_record(user, 1, 1, NULL);
  NodeBound bound = {.record = registered, .number = 12};
  g_autoptr(NodeBound) read = answer(&bound, told, &error);
  g_assert_no_error(error);
  g_assert_cmpuint(read->number, ==, 12);
  g_assert_cmpuint(read->record->sequence, ==, 1);

  NodeBound refused = {.status = DIRECTORY_STATUS(TAKEN), .message = (char *)"by\nbob"};
  g_autoptr(NodeBound) no = answer(&refused, told, &error);
  g_assert_no_error(error);
  g_assert_cmpint(no->status, ==, DIRECTORY_STATUS(TAKEN));
  g_assert_cmpstr(no->message, ==, "by\\nbob");
  g_assert_null(no->record);
}

/* A clone that says "registered" shows what it registered. */
static void
test_lies(void)
{
  g_autoptr(WorldUser) user = world_user_new(100, "alice"), other = world_user_new(900, "alice");
  g_autoptr(Record) told = world_record(user, 2, 0, NULL), older = world_record(user, 1, 1, NULL);
  g_autoptr(Record) foreign = world_record(other, 2, 1, NULL);
  const struct {
    Record *record;
    DoppelErrorCode code;
  } lies[] = {{NULL, DOPPEL_ERROR_HOSTILE},
              {told, DOPPEL_ERROR_HOSTILE}, /* without whereabouts */
              {older, DOPPEL_ERROR_HOSTILE},
              {foreign, DOPPEL_ERROR_DENIED}};
  for (gsize i = 0; i < G_N_ELEMENTS(lies); i++) {
    g_autoptr(GError) error = NULL;
    NodeBound bound = {.record = lies[i].record, .number = 1};
    g_assert_null(answer(&bound, told, &error));
    g_assert_error(error, DOPPEL_ERROR, lies[i].code);
  }
  g_autoptr(GError) error = NULL;
  NodeBound unheard = {.status = (DirectoryStatus)77};
  g_assert_null(answer(&unheard, told, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/node-bind/bind", test_bind);
  g_test_add_func("/node-bind/homeless", test_homeless);
  g_test_add_func("/node-bind/bound", test_bound);
  g_test_add_func("/node-bind/lies", test_lies);
  return g_test_run();
}
