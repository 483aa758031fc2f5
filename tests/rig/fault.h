/* One thing that goes wrong on a connection: where in which direction, and what. */
#pragma once

#include <glib.h>

typedef enum { FAULT_UP, FAULT_DOWN } FaultDirection; /* up: from the one who connects */
typedef enum { FAULT_BYTE, FAULT_RECORD, FAULT_TIME } FaultPlace;
typedef enum { FAULT_RESET, FAULT_FINISH, FAULT_STALL, FAULT_STALL_FOREVER } FaultKind;

typedef struct {
  char *text; /* as it was written */
  FaultDirection direction;
  FaultPlace place;
  gint64 at; /* after so many bytes, so many whole TLS records, or milliseconds since the first connection */
  FaultKind kind;
  int stall_ms; /* of FAULT_STALL */
  int away_ms;  /* new connections are refused for so long afterwards */
  gboolean fired;
} Fault;

/* "up,byte=1234,rst", "down,record=3,fin,away=500", "up,ms=250,stall=300", "down,byte=9,stall": NULL with
 * USAGE. */
Fault *fault_parse(const char *text, GError **error);
void fault_free(Fault *fault);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Fault, fault_free)

/* Finds the ends of TLS records in a stream that begins with something else: the plain preamble of a link is
 * skipped until a handshake record starts. */
typedef struct {
  guint8 header[5];
  guint have; /* bytes of the header */
  gboolean synced;
  guint32 left;   /* bytes of the record still to come */
  gint64 records; /* whole ones so far */
} FaultRecords;

/* How many of the `length` bytes may pass before one more record than `limit` records have ended; counts what
 * passes. */
gsize fault_records_pass(FaultRecords *records, const guint8 *data, gsize length, gint64 limit);
