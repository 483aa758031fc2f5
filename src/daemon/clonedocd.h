/* clonedocd's verbs. Each gets the arguments from its own name on, prints its own errors, and returns the
 * exit status: 0 done, 1 not done, 2 misused. */
#pragma once

#include "clonedoc/server/log.h"

int clonedocd_serve(int argc, char **argv);
int clonedocd_key(int argc, char **argv);
int clonedocd_list(int argc, char **argv);
int clonedocd_check(int argc, char **argv);

#define CLONEDOCD_STATE_HELP                                                                                 \
  "Where the server keeps its key and, by default, the documents' entries (/var/lib/clonedocd, or "          \
  "~/.local/state/clonedocd for who is not root)"
#define CLONEDOCD_LOG_HELP                                                                                   \
  "Where entries are: a folder (STATE/log), or nats://HOST:PORT[,HOST:PORT...][/NAME]"

/* Where a server is: what every verb may be told. */
typedef struct {
  char *state, *log;
} ClonedocdPlace;
void clonedocd_place_clear(ClonedocdPlace *place);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(ClonedocdPlace, clonedocd_place_clear)

/* Fills in what was not said, and makes the state directory. */
gboolean clonedocd_place_complete(ClonedocdPlace *place, GError **error);

/* The server's key, made at first use. */
IdentityKey *clonedocd_place_key(const ClonedocdPlace *place, GError **error);

/* The log of a server that exists: who only looks makes none. */
DocLog *clonedocd_place_look(const ClonedocdPlace *place, GError **error);

/* As in cloneds.h. */
gboolean clonedocd_parse(GOptionContext *context, int *argc, char ***argv, int words, int *status);
int clonedocd_fail(const char *verb, const GError *error);

/* A document's name as people see it: 64 hexadecimal digits; the caller's. And back. */
char *clonedocd_name_to_text(const DocName *name);
gboolean clonedocd_name_from_text(const char *text, DocName *name, GError **error);
