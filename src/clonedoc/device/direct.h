/* Documents without a clone (docs/decisions/0042): this device's own room of them, a process that is there
 * for as long as somebody converses with it. */
#pragma once

#include "base/io.h"
#include "clonedoc/device/known.h"

/* What is started as "PROGRAM doc room --direct" where there is none; valid as long as it may be used.
 * Without: "doppel", as $PATH has it. */
void doc_direct_set_program(const char *program);

/* A stream socket to the room, which is started where there is none; -1 with an error. Blocks. */
int doc_direct_dial(GError **error);

/* Says that somebody is there, and waits until the room has what the servers have, as far as these can be
 * reached. The room is there until this conversation is closed, and then until the servers have what was done
 * with it, as far as they can be reached. -1 with an error. Blocks. */
int doc_direct_stay(GError **error);

/* A DocAsker. */
gboolean doc_direct_ask(DocRoomQuestion *question, DocEach each, gpointer data, GError **error);
