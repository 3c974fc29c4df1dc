"""
Programs, targets and judgement: the bridge between the allocator (zmm) and its specification (zmm_model).

a seed ---- generate --+
bytes  ---- tape ------+--> Program --> driver --> Target --> rows --+
text   ---- parse -----+       |                                     +--> compare --> verdict --> report
a recorded trace ------+       +--------> model ---------------------+
                                      (accepts / predicts)
"""
