/* Words for what a room says (wire/doc_room.proto), and tables. */
#pragma once

#include "cmd/table.h"
#include "wire/doc_room.pb-c.h"

const char *doc_role_word(Doppel__Room__Role role);
gboolean doc_role_parse(const char *word, Doppel__Room__Role *role);
const char *doc_state_word(Doppel__Room__State state);
const char *doc_kind_word(Doppel__Room__Kind kind);

/* Members and what is known of their clones (doc_people.c). */
Table *doc_people_table(void);
void doc_people_add(Table *table, const Doppel__Room__Person *person);
