/* callback.c -- a function of Python's, made of C: an engine that Python drives plays an input without a frame of Python's.
 *
 * Python hears of the plays that it has to judge, and of nothing else: to be told of each costs a tenth of a short play.
 * What is needed of Python's stable interface is declared here, for its headers are seldom where its programs are. */
#include <stddef.h>
#include <stdint.h>

typedef struct _object PyObject;
typedef PyObject *(*method)(PyObject *self, PyObject *argument);
struct method_definition {
    const char *name;
    method function;
    int flags;
    const char *documentation;
};
enum { METHOD_TAKES_ONE = 8 };

PyObject *PyCFunction_NewEx(struct method_definition *definition, PyObject *self, PyObject *module);
int PyBytes_AsStringAndSize(PyObject *object, char **bytes, ptrdiff_t *byte_count);
PyObject *PyLong_FromLong(long number);
PyObject *PyObject_CallFunctionObjArgs(PyObject *callable, ...);
void Py_DecRef(PyObject *object);

#define EXPORTED __attribute__((visibility("default")))

int zmm_harness_take(const uint8_t *bytes, size_t byte_count); /* entry.c */
PyObject *zmm_harness_callback(PyObject *judge, uint64_t every);

static uint64_t judge_every, wanted_count;

/* NULL: an exception was raised, which is a finding, too. */
static PyObject *take_tape(PyObject *judge, PyObject *body) {
    char *bytes;
    ptrdiff_t byte_count;
    if (PyBytes_AsStringAndSize(body, &bytes, &byte_count) < 0) {
        return NULL;
    }
    const int answer = zmm_harness_take((const uint8_t *)bytes, (size_t)byte_count);
    if (answer < 0) {
        return PyLong_FromLong(-1);
    }
    if (++wanted_count % judge_every == 0 || answer > 0) {
        PyObject *const said = PyObject_CallFunctionObjArgs(judge, body, (PyObject *)NULL);
        if (said == NULL) {
            return NULL;
        }
        Py_DecRef(said);
    }
    return PyLong_FromLong(0);
}

/* What is done with each input of a target that plays tapes: `judge` is called with those that reach something new, and with
 * one in so many of the others. */
EXPORTED PyObject *zmm_harness_callback(PyObject *judge, uint64_t every) {
    static struct method_definition definition = {"take_tape", take_tape, METHOD_TAKES_ONE, NULL};
    judge_every = every > 0 ? every : 1;
    return PyCFunction_NewEx(&definition, judge, NULL);
}
