/* doppel name: what its commands share. */
#pragma once

#include "c2c/directory_place.h"
#include "identity/user.h"

#define NAME_DAY_S        G_GINT64_CONSTANT(86400)
#define NAME_EXPIRES_S    (400 * NAME_DAY_S) /* a binding's life, where nothing else is said */
#define NAME_EXPIRES_MOST (3650 * NAME_DAY_S)

typedef struct {
  char *clone, *directory, *phrase_file, *expires_text;
  gint64 expires; /* seconds; 0: not said */
  gboolean lost, json;
} NameOptions;

/* The commands; `words` are those after the command's own, as many as it takes. */
gboolean name_claim(char **words, const NameOptions *options, GError **error);
gboolean name_succeed(char **words, const NameOptions *options, GError **error);
gboolean name_renew(char **words, const NameOptions *options, GError **error);
gboolean name_revoke(char **words, const NameOptions *options, GError **error);
gboolean name_recover(char **words, const NameOptions *options, GError **error);
gboolean name_show(char **words, const NameOptions *options, GError **error);
gboolean name_directory(char **words, const NameOptions *options, GError **error);

/* name_directory.c: the device's list of directories. */
GPtrArray *name_places(GError **error);

/* The directory with that key, NULL where it is not in the list. */
const DirectoryPlace *name_place_keyed(const GPtrArray *places, const IdentityPublic *key);

/* The home directory that is meant: `text` (ADDRESS=KEY or NAME=ADDRESS=KEY, which enters the list; or a name
 * in it), else the list's first. `places` is loaded anew into it. */
DirectoryPlace *name_home(const char *text, GPtrArray **places, GError **error);

/* How a place is called for people: its name, else its address. */
const char *name_place_words(const DirectoryPlace *place);

/* name_ask.c: asking a directory itself. */

/* The record of the user whose home directory is `home`; `user` is a name or "key:FINGERPRINT". NOT_FOUND.
 * The newest that any of `places` knows: a home directory that shows an old one must not have its user make a
 * second succession of one number. */
Record *name_ask_lookup(const DirectoryPlace *home, const GPtrArray *places, const char *user,
                        GError **error);

/* Registers it. FALSE with what the directory says against it. */
gboolean name_ask_register(const DirectoryPlace *place, const Record *record, guint64 *number,
                           GError **error);

/* name_tell.c */

/* Has it registered, through the clone, which adds where it is, or (revoked) from here; and keeps what was
 * made of it. `number` in the directory's log. FALSE: what was proposed stays proposed. */
gboolean name_publish(User *user, Record *record, GPtrArray *places, guint64 *number, GError **error);

/* Hands the clone the record that was taken already, with another list of directories. */
gboolean name_tell_again(User *user, GPtrArray *places, GError **error);

/* Whether the clone was told another list than this one, or none that is known of. */
gboolean name_told_otherwise(const GPtrArray *places);

/* name_renew.c */

/* What the device owes its user's name, as the agent and each synchronisation do it: the binding is renewed
 * when its time has come, and a changed list of directories told to the clone. Nothing that is done in vain
 * is tried again within ten minutes. What it did, and what went wrong, is said on standard error after
 * `verb`. */
void name_keep(const char *verb);

/* What is to be done about a binding that was not renewed in time, for people: the caller's. NULL: it was. */
char *name_renewal_words(const Record *record);

/* name_claim.c */

/* The binding that is to be from now on: to the clone `clone`, with that home directory. */
gboolean name_make_binding(RecordBinding *binding, const char *name, const PairedClone *clone,
                           const IdentityPublic *directory, const NameOptions *options, GError **error);
