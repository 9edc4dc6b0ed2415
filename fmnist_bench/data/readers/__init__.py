"""Files of others as rows of pixels: `rows` chooses the reader, and brings what it gives to one scale.

A reader gives one part of a data set (`parts`): folders of IDX files, `.npz`, tables, a folder for each class, OpenML.
Files are read with suspicion: nothing is unpickled, nothing is inflated beyond measure.
"""
