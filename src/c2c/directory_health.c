#include "c2c/directory_health.h"

#include <string.h>

#include "base/clock.h"

#define NS_PER_SECOND G_GINT64_CONSTANT(1000000000)

typedef struct {
  IdentityPublic directory;
  gint64 answered, away; /* seconds since 1970 */
  gint64 failed_at;      /* CLOCK_MONOTONIC ns; the last time */
  char *words;
} Entry;

struct DirectoryHealth {
  gint references;
  GMutex lock;
  GArray *entries; /* of Entry: as many as there are directories in a list */
};

static void
clear_entry(gpointer data)
{
  g_free(((Entry *)data)->words);
}

DirectoryHealth *
directory_health_new(void)
{
  DirectoryHealth *health = g_new0(DirectoryHealth, 1);
  health->references = 1;
  g_mutex_init(&health->lock);
  health->entries = g_array_new(FALSE, TRUE, sizeof(Entry));
  g_array_set_clear_func(health->entries, clear_entry);
  return health;
}

DirectoryHealth *
directory_health_ref(DirectoryHealth *health)
{
  g_atomic_int_inc(&health->references);
  return health;
}

void
directory_health_unref(DirectoryHealth *health)
{
  if (!g_atomic_int_dec_and_test(&health->references))
    return;
  g_array_unref(health->entries);
  g_mutex_clear(&health->lock);
  g_free(health);
}

static Entry *
find(DirectoryHealth *health, const IdentityPublic *directory)
{
  for (guint i = 0; i < health->entries->len; i++) {
    Entry *entry = &g_array_index(health->entries, Entry, i);
    if (identity_public_equal(&entry->directory, directory))
      return entry;
  }
  return NULL;
}

void
directory_health_note(DirectoryHealth *health, const IdentityPublic *directory, const char *words)
{
  g_mutex_lock(&health->lock);
  Entry *entry = find(health, directory);
  if (!entry) {
    g_array_append_val(health->entries, ((Entry){.directory = *directory}));
    entry = find(health, directory);
  }
  gint64 now = clock_unix_time();
  g_clear_pointer(&entry->words, g_free);
  if (words) {
    entry->words = g_strdup(words);
    entry->failed_at = clock_now_ns();
    entry->away = entry->away ? entry->away : now;
  } else {
    entry->answered = now;
    entry->away = 0;
  }
  g_mutex_unlock(&health->lock);
}

gboolean
directory_health_is_away(DirectoryHealth *health, const IdentityPublic *directory)
{
  g_mutex_lock(&health->lock);
  const Entry *entry = find(health, directory);
  gboolean away =
      entry && entry->away && clock_now_ns() - entry->failed_at < DIRECTORY_AWAY_S * NS_PER_SECOND;
  g_mutex_unlock(&health->lock);
  return away;
}

void
directory_health_tell(DirectoryHealth *health, const IdentityPublic *directory, gint64 *answered,
                      gint64 *away, char **words)
{
  g_mutex_lock(&health->lock);
  const Entry *entry = find(health, directory);
  *answered = entry ? entry->answered : 0;
  *away = entry ? entry->away : 0;
  *words = entry ? g_strdup(entry->words) : NULL;
  g_mutex_unlock(&health->lock);
}
