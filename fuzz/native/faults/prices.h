/* prices.h -- what everyday calls cost: the figures that stand beside the detection. */
#ifndef ZMM_FAULTS_PRICES_H
#define ZMM_FAULTS_PRICES_H

/* Measures `name` (pair, random, large, memory, pairs-N) on the open heap and prints one line; the exit status. */
int price_measure(const char *name);

#endif
