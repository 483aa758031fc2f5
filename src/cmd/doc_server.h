/* An ordering server, as "clonedocd key" says it. */
#pragma once

#include "cmd/doc.h"

typedef struct {
  char **addresses;
  IdentityPublic key;
} DocServer;
void doc_server_clear(DocServer *server);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(DocServer, doc_server_clear)

/* "ADDRESS[,ADDRESS...]=KEY"; an address without a port gets DOC_PORT. USAGE. */
gboolean doc_server_parse(const char *text, DocServer *server, GError **error);

/* That one; or with NULL the one of the document that was changed last. */
gboolean doc_server_choose(const char *text, DocCopies *copies, DocServer *server, GError **error);
