/* Messages of a synchronisation, made of a fuzzer's choices, for either end. */
#pragma once

#include "input.h"
#include "replicator/sync_message.h"

/* Sends some messages as the one or the other side, sensible ones and others, and ends the stream. The names
 * in them are few, so that they meet. */
void sync_input_send(Input *input, Link *link, int fd, gboolean as_device);

/* A directory for one input, in memory where there is such a place; and its end. */
char *sync_input_directory(void);
void sync_input_remove(char *directory);
