/* detonate.h -- everyday life after a fault, until the end of the process. */
#ifndef ZMM_FAULTS_DETONATE_H
#define ZMM_FAULTS_DETONATE_H

#include <stdint.h>

/* Before the fault: one block that lives to the end, as a collection of an empty heap is undefined in PHP 8.2. */
void detonate_prepare(void);
void detonate(void);
/* How many turns of churn a detonation has at most: a search cannot wait for quarantines to drain each time. */
void detonate_briefly(uint32_t turns);

#endif
