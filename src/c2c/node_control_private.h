/* What the files of the node's verbs share. */
#pragma once

#include "c2c/node_private.h"

/* A call whose answer takes time. */
struct NodeQuestion {
  Node *node;
  LocalCall *call; /* NULL: the program has gone */
  char *text, *service, *limits;
  gboolean flag;
  guint64 after; /* where the page before ended */
};
NodeQuestion *node_question_new(Node *node, LocalCall *call);
void node_question_free(NodeQuestion *question);

/* Borrows `data`. */
ProtobufCBinaryData node_bytes(const void *data, gsize length);

/* The origin behind which a page begins, as the asker has it: NULL for the first page. */
const IdentityPublic *node_cursor(const ProtobufCBinaryData *bytes, IdentityPublic *after);

/* node_control_people.c */
void node_control_allow(Node *node, LocalCall *call, const ProtobufCMessage *body);
void node_control_deny(Node *node, LocalCall *call, const ProtobufCMessage *body);
void node_control_permissions(Node *node, LocalCall *call, const ProtobufCMessage *body);
void node_control_contacts(Node *node, LocalCall *call, const ProtobufCMessage *body);
void node_control_contact(Node *node, LocalCall *call, const ProtobufCMessage *body);

/* node_control_groups.c */
void node_control_group(Node *node, LocalCall *call, const ProtobufCMessage *body);
