/* serve.h -- performs one script after another, each in a child: for searches that need many. */
#ifndef ZMM_FAULTS_SERVE_H
#define ZMM_FAULTS_SERVE_H

/* For every line on stdin: empties report and stderr, has a child perform the script at `path`, and writes the child's
 * status (as waitpid tells it, a little-endian 32-bit number) to stdout. Returns at the end of stdin. A child that takes
 * longer than a few seconds dies of SIGALRM. */
int serve(void (*perform_script)(const char *path), const char *path);

#endif
