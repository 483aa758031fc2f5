/* The device's situation, as the policies see it: six facts, each with where it was learned. */
#pragma once

#include <glib.h>

typedef enum {
  CONDITION_LINK,       /* a ConditionLink: what the way to the clone goes over */
  CONDITION_ONLINE,     /* 0: the network holds everything back until somebody logs in (a captive portal) */
  CONDITION_METERED,    /* 1: bytes cost money or a quota */
  CONDITION_ON_BATTERY, /* 0: external power is there, or the device has no battery */
  CONDITION_CHARGING,   /* 1: the battery is charging, full, or held where it is by the charger */
  CONDITION_LEVEL,      /* of the battery, in percent */
  CONDITIONS_COUNT,
} ConditionKind;

typedef enum {
  CONDITION_LINK_NONE,
  CONDITION_LINK_WIFI,
  CONDITION_LINK_ETHERNET,
  CONDITION_LINK_MOBILE, /* a telephone network, through a modem or another device's tethering */
  CONDITION_LINK_OTHER,  /* there is a link, of which nothing else is known */
  CONDITION_LINKS,
} ConditionLink;

typedef enum {
  CONDITIONS_NOBODY, /* the fact is not known */
  CONDITIONS_CONFIGURATION,
  CONDITIONS_NETWORK_MANAGER,
  CONDITIONS_UPOWER,
  CONDITIONS_POWER_SUPPLY, /* /sys/class/power_supply */
  CONDITIONS_NET,          /* /sys/class/net */
} ConditionsSource;

typedef struct {
  int value;
  ConditionsSource source;
} Condition;

/* Zeroed, nothing is known. */
typedef struct {
  Condition facts[CONDITIONS_COUNT];
} Conditions;

/* The fact's value, or -1 where it is not known. */
int conditions_get(const Conditions *conditions, ConditionKind kind);
void conditions_set(Conditions *conditions, ConditionKind kind, int value, ConditionsSource source);

/* Takes from `more` what is not known yet. */
void conditions_add(Conditions *conditions, const Conditions *more);

gboolean conditions_equal(const Conditions *a, const Conditions *b);

/* Words for people and for JSON: "wifi", "NetworkManager", "metered" and "yes", "62 %" or "unknown". */
const char *conditions_link_name(ConditionLink link);
const char *conditions_source_name(ConditionsSource source);
const char *conditions_name(ConditionKind kind);
char *conditions_value_text(const Conditions *conditions, ConditionKind kind);

/* The link that is called so, or -1. */
int conditions_link_from_name(const char *name);
