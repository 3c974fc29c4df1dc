/* lock.h -- the lock of the tables that all heaps of a process share; held for a few instructions, on slow paths only. */
#ifndef ZMM_LOCK_H
#define ZMM_LOCK_H

#include <stdatomic.h>

#include "config.h"

static inline void lock_take(atomic_flag *flag) {
    while (atomic_flag_test_and_set_explicit(flag, memory_order_acquire)) {
    }
}
static inline void lock_give_back(atomic_flag *flag) {
    atomic_flag_clear_explicit(flag, memory_order_release);
}

#endif
