#include "cmd/peers_directories.h"

#include <string.h>

#include "cmd/network_ask.h"
#include "cmd/table.h"

static const TableColumn columns[] = {
    {"NAME", "name"}, {"ADDRESS", "address"}, {"STATE", "state"}, {"ENTRIES", "entries", TABLE_NUMBER},
    {NULL, "key"},    {NULL, "answered"},     {NULL, "away"},     {NULL, "why"},
    {NULL, "signed"}, {NULL, "notes"},
};

static const char *
state_of(const Doppel__Wire__ControlDirectory *directory)
{
  if (directory->n_notes > 0)
    return "doubtful";
  return directory->away ? "away" : directory->answered ? "answers" : "not asked";
}

/* Its newest head, NULL where none is known. */
static const Doppel__Wire__ControlHead *
head_of(const Doppel__Wire__ControlPeers *told, const Doppel__Wire__ControlDirectory *directory)
{
  for (gsize i = 0; i < told->n_heads; i++) {
    const ProtobufCBinaryData *key = &told->heads[i]->directory;
    if (key->len == directory->key.len && memcmp(key->data, directory->key.data, key->len) == 0)
      return told->heads[i];
  }
  return NULL;
}

static void
add(Table *table, const Doppel__Wire__ControlPeers *told, const Doppel__Wire__ControlDirectory *directory)
{
  const Doppel__Wire__ControlHead *head = head_of(told, directory);
  g_autofree char *key = network_key(&directory->key), *answered = network_time(directory->answered),
                  *away = network_time(directory->away), *time = network_time(head ? head->time : 0),
                  *entries = g_strdup_printf("%" G_GUINT64_FORMAT, head ? head->number : 0);
  g_autoptr(GString) notes = g_string_new(NULL);
  for (gsize i = 0; i < directory->n_notes; i++)
    g_string_append_printf(notes, "%s%s", i > 0 ? "\n" : "", directory->notes[i]);
  const char *cells[] = {directory->name,
                         directory->address,
                         state_of(directory),
                         entries,
                         key,
                         answered,
                         away,
                         directory->why,
                         time,
                         notes->str};
  table_add(table, cells);
}

void
peers_directories_print(const Doppel__Wire__ControlPeers *told, gboolean json)
{
  g_autoptr(Table) table = table_new(columns, G_N_ELEMENTS(columns));
  for (gsize i = 0; i < told->n_directories; i++)
    add(table, told, told->directories[i]);
  if (json || told->n_directories > 0)
    table_print(table, json, stdout);
  else
    fputs("The clone asks no directory: \"doppel name claim NAME --directory ADDRESS=KEY\".\n", stderr);
}

static void
warn_away(const Doppel__Wire__ControlDirectory *directory)
{
  g_autofree char *age = network_age(directory->away);
  g_autofree char *note =
      g_strdup_printf("the directory \"%s\" has not answered for %s (%s): what is known of its users is "
                      "remembered, and goes on being used",
                      *directory->name ? directory->name : directory->address, age, directory->why);
  network_notes("peers", &note, 1);
}

void
peers_directories_warn(const Doppel__Wire__ControlPeers *told)
{
  for (gsize i = 0; i < told->n_directories; i++) {
    if (told->directories[i]->away)
      warn_away(told->directories[i]);
    network_notes("peers", told->directories[i]->notes, told->directories[i]->n_notes);
  }
}
