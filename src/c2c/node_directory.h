/* The directory as the node asks it: in threads of its own, since answers take their time, and several at
 * once, since one directory's silence is not to hold up who asks for others' users. */
#pragma once

#include "identity/record.h"
#include "wire/c2c.pb-c.h"
#include "wire/c2c_control.pb-c.h"
#include "wire/directory.pb-c.h"

typedef struct NodeDirectory NodeDirectory;

/* Where an answer comes from. */
typedef struct {
  gboolean cached; /* remembered: no directory answered, or none was asked */
  gint64 time;     /* of the answer, seconds since 1970; 0: no directory told it */
  char **notes;    /* what is odd about it, for the owner; NULL: nothing */
} NodeAnswer;

/* `record` is NULL with an error: NOT_FOUND no such user, USAGE several, GONE no directory answers. */
typedef void (*NodeFound)(Record *record, const NodeAnswer *answer, const GError *error, void *data);

/* `directory` is the clone's C2C directory, with the cache and directory.conf. `key` must live as long. */
NodeDirectory *node_directory_new(const char *directory, const IdentityKey *key, GError **error);

/* What was asked and is not answered is never answered. */
void node_directory_free(NodeDirectory *directory);

/* Without `fresh`, what is remembered of the origin is enough. */
void node_directory_find_origin(NodeDirectory *directory, const IdentityPublic *origin, gboolean fresh,
                                NodeFound found, void *data);
/* "NAME" or "DIRECTORY/NAME". */
void node_directory_find_name(NodeDirectory *directory, const char *name, gboolean fresh, NodeFound found,
                              void *data);

/* `status` as in DirectoryAnswer; `words` say why not. */
typedef void (*NodeRegistered)(Doppel__Wire__DirectoryAnswer__Status status, guint64 number,
                               const char *words, void *data);
void node_directory_register(NodeDirectory *directory, Record *record, NodeRegistered registered, void *data);

/* Whom to ask from now on (of DirectoryPlace; copied), also after the node's next start. */
gboolean node_directory_configure(NodeDirectory *directory, const GPtrArray *places, GError **error);

/* Whether so much is being asked already that strangers have to come again. */
gboolean node_directory_is_busy(NodeDirectory *directory);

/* A record that its owner has shown. */
void node_directory_learn(NodeDirectory *directory, Record *record);

/* The newest heads that are known, to be shown: an array of GBytes. And heads that a peer showed. */
GPtrArray *node_directory_heads(NodeDirectory *directory);
void node_directory_seen(NodeDirectory *directory, const ProtobufCBinaryData *heads, gsize count);

/* Compares heads anew, in its own time: to be called now and then. */
void node_directory_watch(NodeDirectory *directory);

/* A page of the list of all clones: an answer that is packed, NULL with an error. */
typedef void (*NodePacked)(const ProtobufCMessage *answer, const GError *error, void *data);
void node_directory_list(NodeDirectory *directory, const IdentityPublic *after, guint count,
                         NodePacked packed, void *data);
/* The heads, who is away, and what is to be said against directories, as a ControlPeers without peers. */
void node_directory_report(NodeDirectory *directory, NodePacked packed, void *data);
