#include "people.h"

#include <sqlite3.h>

#include "base/clock.h"
#include "record_world.h"

enum { HOME_KEYS = 900, SUCCESSOR_KEYS = 5000 };

/* Two that want one name of one directory; others of that name elsewhere. */
static const char *const names[PEOPLE] = {"alice", "alice", "bob", "bob", "carol", "dave"};

static void
stop_time(void)
{
  static gboolean stopped;
  if (!stopped)
    clock_shift_unix_time(WORLD_TIME + 10 - clock_unix_time());
  stopped = TRUE;
}

const IdentityKey *
people_home(guint home)
{
  static IdentityKey *keys[PEOPLE_HOMES];
  stop_time();
  if (!keys[home])
    keys[home] = world_key(HOME_KEYS + home);
  return keys[home];
}

guint
people_home_of(guint user, guint kind)
{
  return (kind / 32 ? user + 1 : user / 2) % PEOPLE_HOMES;
}

const char *
people_name(guint user)
{
  return names[user];
}

const IdentityPublic *
people_origin(guint user)
{
  return &people_record(user, 0)->origin;
}

/* Of the kind's bits: 0 sequence, 1 serial, 2-3 successions, 4 another name, 5 another home. */
static Record *
make(guint user, guint kind)
{
  g_autoptr(WorldUser) world = world_user_new(10 * (user + 1), kind & 16 ? "zoe" : names[user]);
  guint successions = kind / 4 % 4;
  world->binding.directory = *identity_key_public(people_home(people_home_of(user, kind)));
  if (successions > 0)
    world_succeed(world, SUCCESSOR_KEYS + 10 * user + 2 * successions, successions == 3);
  Record *record = world_record(world, 1 + kind / 2 % 2, 1 + kind % 2, NULL);
  if (!record)
    g_error("a record of user %u cannot be made", user);
  return record;
}

Record *
people_record(guint user, guint kind)
{
  static Record *records[PEOPLE][PEOPLE_KINDS];
  stop_time();
  if (!records[user][kind])
    records[user][kind] = make(user, kind);
  return records[user][kind];
}

Record *
people_any_record(Input *input)
{
  guint user = input_below(input, PEOPLE);
  return people_record(user, input_below(input, PEOPLE_KINDS));
}

void
people_files_in_memory(void)
{
  static gboolean done;
  if (!done && sqlite3_vfs_register(sqlite3_vfs_find("memdb"), TRUE) != SQLITE_OK)
    g_error("SQLite cannot keep files in memory");
  done = TRUE;
}
