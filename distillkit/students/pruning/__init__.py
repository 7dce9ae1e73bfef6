"""A student cut out of its teacher: what matters, what is kept, and the cut itself.

Which layers and widths are asked for is said by `FromTeacher`.
"""
