#include "cmd/doc_words.h"

#include <string.h>

static const char *const roles[] = {"none", "reader", "writer", "owner"};
static const char *const states[] = {"member", "invited", "joining", "removed", "stopped", "recovering"};
static const char *const kinds[] = {"", "edit", "members", "checkpoint"};

const char *
doc_role_word(Doppel__Room__Role role)
{
  return (guint)role < G_N_ELEMENTS(roles) ? roles[role] : "?";
}

gboolean
doc_role_parse(const char *word, Doppel__Room__Role *role)
{
  for (guint i = DOPPEL__ROOM__ROLE__READER; i < G_N_ELEMENTS(roles); i++)
    if (strcmp(word, roles[i]) == 0) {
      *role = i;
      return TRUE;
    }
  return FALSE;
}

const char *
doc_state_word(Doppel__Room__State state)
{
  return (guint)state < G_N_ELEMENTS(states) ? states[state] : "?";
}

const char *
doc_kind_word(Doppel__Room__Kind kind)
{
  return (guint)kind < G_N_ELEMENTS(kinds) ? kinds[kind] : "?";
}
