"""What a trained student says about new texts: labels, values, tags, answers, and the files of it.

A student's folder says itself what it is for (`purpose`); whatever runs it stands behind
`SavedModel.open`.
"""
